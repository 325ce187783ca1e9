"""Every bound that a model states, tried at the bound, one below and one above.

The bounds are taken from the models and the messages are put together here, so that an operation that is added is
held to its model without a line being written.
"""

from itertools import product

import pytest

from penstock.wire import model
from penstock.wire.patterns import translate
from penstock.wire.validate import violations

SCALARS = {"string", "blob", "integer", "long", "float", "double", "boolean", "timestamp"}
#: Beginnings that some pattern asks for; what follows is filled up with one letter.
STEMS = (
    "",
    "s3://",
    "arn:aws:iam::123456789012:role/",
    "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/",
    "arn:aws:sagemaker:eu-west-1:123456789012:experiment-trial-component/",
    "arn:aws:sagemaker:eu-west-1:123456789012:artifact/",
    "text/",
)
#: What most patterns refuse.
ODD = ("\n", "!", "a b", "\u2603", "_", "-", "a\nb")


def text_of(shape, length):
    """A text of that length that keeps the shape's pattern; None when there is none among those tried."""
    full = translate(shape.metadata["pattern"]).fullmatch if "pattern" in shape.metadata else lambda _: True
    for stem, letter in product(STEMS, "a0"):
        text = stem + letter * (length - len(stem))
        if len(text) == length and full(text):
            return text
    return None


def good(shape, seen=()):
    """A value that keeps every constraint, with what is required and no more."""
    low = shape.metadata.get("min", 0)
    match shape.type_name:
        case "structure":
            return {name: good(shape.members[name], seen) for name in shape.required_members}
        case "list":
            return [good(shape.member, seen) for _ in range(low)]
        case "map":
            return dict(zip(keys(shape.key, low), [good(shape.value, seen)] * low, strict=True))
        case "string" if "enum" in shape.metadata:
            return shape.metadata["enum"][0]
        case "string":
            high = shape.metadata.get("max", 200)
            return next(t for n in range(low, high + 1) if (t := text_of(shape, n)) is not None)
        case "boolean":
            return True
        case _:
            return max(low, 1)


def keys(shape, count):
    made = []
    for number in range(count):
        key = f"{good(shape)}{number}"
        made.append(key)
    return made


def places(shape, path="", put=lambda value: value, seen=()):
    """Each place of a shape: its shape, its path in messages, and a function that builds the whole around a value.

    A shape within itself is followed once.
    """
    yield shape, path, put
    if shape.name in seen:
        return
    seen = (*seen, shape.name)
    match shape.type_name:
        case "structure":
            base = good(shape)
            for name, member in shape.members.items():
                label = name[:1].lower() + name[1:]

                def within(value, name=name):
                    return put({**base, name: value})

                yield from places(member, f"{path}.{label}" if path else label, within, seen)
        case "list":
            low = max(shape.metadata.get("min", 0), 1)

            def first(value):
                return put([value, *[good(shape.member) for _ in range(low - 1)]])

            scalar = shape.member.type_name in SCALARS
            yield from places(shape.member, path if scalar else f"{path}.1.member", first, seen)
        case "map":

            def named(value):
                return put({good(shape.key): value})

            scalar = shape.value.type_name in SCALARS
            inner = path if scalar else f"{path}.{good(shape.key)}.member"
            yield from places(shape.value, inner, named, seen)
            yield from places(shape.key, path, lambda key: put({key: good(shape.value)}), seen)


def of_size(shape, count):
    """A list or map with so many good entries."""
    if shape.type_name == "list":
        return [good(shape.member)] * count
    return dict.fromkeys(keys(shape.key, count), good(shape.value))


def bounds(shape):
    """(value, the constraint that it breaks or None) at, below and above each bound of a shape."""
    meta = shape.metadata
    low, high = meta.get("min"), meta.get("max")
    kind = shape.type_name

    def outside(count):
        return (high is not None and count > high) or (low is not None and count < low)

    if kind in {"list", "map"}:
        make, what = (lambda n: of_size(shape, n)), "length"
    elif kind in {"string", "blob"}:
        # Where the pattern states the length once more, both are broken.
        make, what = (lambda n: text_of(shape, n) or ("a" * n if outside(n) else None)), "length"
    else:
        make, what = (lambda n: n), "value"
    tried = []
    if high is not None:
        above = f"Member must have {what} less than or equal to {high}"
        tried += [(make(n), None) for n in (high - 1, high) if not outside(n)] + [(make(high + 1), above)]
    if low is not None and not (what == "length" and low == 0):
        below = f"Member must have {what} greater than or equal to {low}"
        tried += [(make(low), None), (make(low - 1), below)]
        if high is None or high > low:
            tried.append((make(low + 1), None))
    if "enum" in meta:
        words = f"Member must satisfy enum value set: [{', '.join(meta['enum'])}]"
        tried += [(value, None) for value in meta["enum"]]
        tried += [(meta["enum"][0].swapcase(), words), ("", words)]
    if "pattern" in meta:
        full = translate(meta["pattern"]).fullmatch
        words = f"Member must satisfy regular expression pattern: {meta['pattern']}"
        stem = good(shape)
        odd = [text for end in ODD for text in (end, stem + end) if not full(text)]
        tried += [(t, words) for t in odd if (low or 0) <= len(t) <= (high or 10**9)]
    return [(value, words) for value, words in tried if value is not None]


def inputs():
    for service in sorted(model.SERVICES):
        for name in model.service(service).operation_names:
            shape = model.operation(service, name).input_shape
            if shape is not None:
                yield service, name, shape


def cases(shape):
    for inner, path, put in places(shape):
        for value, words in bounds(inner):
            yield path, put(value), words


def test_there_is_much_to_try():
    tried = [words for _, _, shape in inputs() for _, _, words in cases(shape)]
    assert len(tried) > 1000
    assert len(tried) - tried.count(None) > 300


@pytest.mark.parametrize(("service", "operation", "shape"), [*inputs()])
def test_every_bound(service, operation, shape):
    for path, params, words in cases(shape):
        found = violations(service, shape.name, params)
        if words is None:
            assert found == [], (path, params)
            continue
        # AWS tells the elements of a list or map of scalars together, with all that each of them must satisfy.
        assert len([told for told in found if words in told]) == 1, (path, params, found)
        for told in found:
            value, _, constraint = told.partition(f" at '{path}' failed to satisfy constraint: ")
            assert value.startswith("Value '")
            assert constraint.startswith(("Member must ", "Map keys must ", "Map value must "))


@pytest.mark.parametrize(("service", "operation", "shape"), [*inputs()])
def test_every_required_member(service, operation, shape):
    for inner, path, put in places(shape):
        for name in getattr(inner, "required_members", ()):
            params = good(inner)
            del params[name]
            label = name[:1].lower() + name[1:]
            place = f"{path}.{label}" if path else label
            assert violations(service, shape.name, put(params)) == [
                f"Value null at '{place}' failed to satisfy constraint: Member must not be null"
            ]
