"""Which interpreter and which versions: the rules, with a resolver of a few lines in uv's place."""

import re

import pytest

from penstock.environments import interpreters as finding
from penstock.environments import resolve as resolving
from penstock.environments.interpreters import Interpreter, at_hand, by_nearness, candidates
from penstock.environments.uv import UvError, clean
from penstock.errors import InternalFailure
from penstock.images.contents import Contents

PY = {n: Interpreter(f"/usr/bin/python3.{n}", f"3.{n}.1", "/usr") for n in range(7, 14)}
#: name -> version -> minors (3.x) for which there is a wheel.
WHEELS = {
    "framework": {"1.0": {7, 8}, "1.2": {8, 9}, "2.0": {11, 12}},
    "numpy": {"1.19": {7, 8, 9}, "1.24": {8, 9, 11}, "2.1": {11, 12}},
    "pip": {"21": {7, 8, 9, 11, 12}, "26": {9, 11, 12}},
    "setuptools": {"60": {7, 8, 9, 11}},
    "wheel": {"0.4": {7, 8, 9, 11}},
}


def number(version):
    return tuple(int(part) for part in re.findall(r"\d+", version))


def fits(version, specifier):
    for part in filter(None, specifier.split(",")):
        sign, bound = re.match(r"(==|>=|<)(.*)", part).groups()
        if not {"==": number(version) == number(bound), ">=": number(version) >= number(bound)}.get(
            sign, number(version) < number(bound)
        ):
            return False
    return True


@pytest.fixture
def asked(monkeypatch):
    """Replace uv by a resolver over WHEELS, and keep what it was asked."""
    calls = []

    def uv(*arguments, folder, stdin, cancelled):
        arguments = [str(one) for one in arguments]
        minor = int(arguments[arguments.index("--python") + 1].rsplit(".", 1)[1])
        lowest = "lowest-direct" in arguments
        calls.append((minor, stdin))
        lines = []
        for line in stdin.split():
            name, specifier = re.match(r"([\w-]+)(.*)", line).groups()
            having = [v for v, minors in WHEELS[name].items() if minor in minors and fits(v, specifier)]
            if not having:
                raise UvError(f"No solution found: {line}", unsatisfiable=True)
            lines.append(f"{name}=={(min if lowest else max)(having, key=number)} \\\n    --hash=sha256:00\n")
        return "".join(lines)

    monkeypatch.setattr(resolving, "uv", uv)
    return calls


def resolve(wanted, minors, tmp_path):
    return resolving.resolve(wanted, [PY[n] for n in minors], folder=tmp_path, progress=lambda _: None)


def test_all_as_in_the_image_takes_one_call(asked, tmp_path):
    got = resolve(Contents("3.8", {"framework": "==1.0"}, {"numpy": "==1.19"}), [11, 8, 7], tmp_path)
    assert got.interpreter is PY[8]
    assert got.deviations == ()
    assert len(asked) == 1
    assert resolving.locked(got.lock) == {
        "framework": "1.0",
        "numpy": "1.19",
        "pip": "21",
        "setuptools": "60",
        "wheel": "0.4",
    }


def test_an_exact_framework_on_another_python_beats_the_images_python(asked, tmp_path):
    got = resolve(Contents("3.11", {"framework": "==1.2"}, {"numpy": "==1.24"}), [11, 12, 9, 7], tmp_path)
    assert got.interpreter is PY[9]
    assert got.deviations == (
        "image has Python 3.11, this environment has 3.9.1: framework 1.2 has no wheel for it",
    )


def test_without_an_exact_framework_the_nearest_above_is_taken_and_told(asked, tmp_path):
    got = resolve(Contents("3.8", {"framework": "==1.0"}, {"numpy": "==1.19"}), [12, 11], tmp_path)
    assert got.interpreter is PY[11]
    assert got.deviations == (
        "image has Python 3.8, this environment has 3.11.1: no 3.8 interpreter on this machine",
        "framework 1.0 has no wheel for Python 3.11; 2.0 is used",
        "numpy 1.19 -> 1.24",
    )
    assert resolving.locked(got.lock)["pip"] == "26"


def test_where_nothing_is_above_the_nearest_below_is_taken(asked, tmp_path):
    got = resolve(Contents("3.11", {"framework": "==3.0"}, {}), [11], tmp_path)
    assert got.deviations == ("framework 3.0 has no wheel for Python 3.11; 2.0 is used",)


def test_a_companion_gives_way_alone(asked, tmp_path):
    got = resolve(Contents("3.9", {"framework": "==1.2"}, {"numpy": "==1.20"}), [9], tmp_path)
    assert got.deviations == ("numpy 1.20 -> 1.24",)


def test_a_companion_without_anything_above_stays_in_its_major_version(asked, tmp_path):
    got = resolve(Contents("3.9", {"framework": "==1.2"}, {"numpy": "==1.99"}), [9], tmp_path)
    assert got.deviations == ("numpy 1.99 -> 1.24",)


def test_a_bound_of_the_time_is_no_pin_and_no_deviation(asked, tmp_path):
    got = resolve(Contents("3.11", {"framework": "==2.0"}, {"numpy": ">=1.18,<1.20"}), [11], tmp_path)
    assert got.deviations == ()
    assert resolving.locked(got.lock)["numpy"] == "1.24"


def test_plain_python_takes_the_nearest_interpreter(asked, tmp_path):
    got = resolve(Contents("3.10"), [12, 11, 7], tmp_path)
    assert got.interpreter is PY[11]
    assert got.deviations == (
        "image has Python 3.10, this environment has 3.11.1: no 3.10 interpreter on this machine",
    )


def test_nothing_that_fits_is_told_with_uvs_reason(asked, tmp_path):
    with pytest.raises(InternalFailure, match=r"framework.*Python 3.13: No solution found"):
        resolve(Contents("3.13", {"framework": "==1.0"}), [13], tmp_path)


def test_no_interpreter_at_all(tmp_path):
    with pytest.raises(InternalFailure, match=r"uv python install 3\.9"):
        resolve(Contents("3.9"), [], tmp_path)


def test_an_index_that_can_not_be_reached_is_no_missing_wheel(monkeypatch, tmp_path):
    def uv(*_, **__):
        raise UvError("Request failed after 3 retries", unsatisfiable=False)

    monkeypatch.setattr(resolving, "uv", uv)
    with pytest.raises(InternalFailure, match="network and the index settings"):
        resolve(Contents("3.9", {"framework": "==1.0"}), [9, 8], tmp_path)


def test_of_two_as_near_the_newer_comes_first():
    assert [one.minor for one in by_nearness([PY[7], PY[9], PY[12], PY[8]], "3.8")] == [
        "3.8",
        "3.9",
        "3.7",
        "3.12",
    ]


def interpreter_at(path, answer):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return str(path)


def test_interpreters_are_found_where_they_are_kept_and_only_those_that_work(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    good = interpreter_at(
        home / ".pyenv/versions/3.8.18/bin/python3.8", """echo '["3.8.18", "/kept/3.8.18", "cpython"]'"""
    )
    broken = interpreter_at(home / ".pyenv/versions/3.9.18/bin/python3.9", "exit 127")
    interpreter_at(home / ".pyenv/shims/python3.10", "exit 127")
    managed = interpreter_at(
        home / ".local/share/uv/python/cpython-3.12/bin/python3.12", """echo '["3.12.1", "/m", "pypy"]'"""
    )
    fetched = interpreter_at(
        cache / "interpreters/cpython-3.7/bin/python3.7", """echo '["3.7.1", "/usr", "cpython"]'"""
    )
    environ = {"HOME": str(home), "PATH": f"{home}/.pyenv/shims"}
    found = candidates(cache, environ)
    assert {good, broken, managed, fetched} <= set(found)
    assert not [one for one in found if "shims" in one]
    monkeypatch.setattr(finding, "candidates", lambda *_: [good, broken, managed, fetched])
    working = finding.at_hand(cache, environ)
    assert [(one.minor, one.visible) for one in working] == [("3.8", ("/kept/3.8.18",)), ("3.7", ())]


def test_a_failed_fetch_is_remembered(tmp_path, monkeypatch):
    calls = []

    def uv(*_, **__):
        calls.append(1)
        raise UvError("no route", unsatisfiable=False)

    monkeypatch.setattr(finding, "uv", uv)
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    assert finding.fetch("3.9", tmp_path, lambda _: None) is None
    assert finding.fetch("3.9", tmp_path, lambda _: None) is None
    assert len(calls) == 1


def test_nothing_is_fetched_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "uv", lambda *_, **__: pytest.fail("uv was called"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert finding.fetch("3.9", tmp_path, lambda _: None) is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x1b[1m\x1b[31merror\x1b[39m\x1b[0m: Failed\n", "Failed"),
        ("  \u00d7 No solution found", "No solution found"),
        ("  ╰─▶ Because x", "Because x"),
        ("fetch https://user:pass@host/simple failed", "fetch https://****@host/simple failed"),
    ],
)
def test_uvs_lines_are_cleaned(raw, text):
    assert clean(raw) == text


def test_an_interpreter_whose_folder_holds_the_home_is_left_out(monkeypatch, tmp_path):
    """Programs see an interpreter's folder, and must not see a home in it."""
    assert at_hand(tmp_path)
    for prefix in {one.base_prefix for one in at_hand(tmp_path)}:
        monkeypatch.setenv("HOME", f"{prefix}/home")
        assert prefix not in {one.base_prefix for one in at_hand(tmp_path)}
