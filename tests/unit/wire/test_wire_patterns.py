"""Java's patterns in Python's hands."""

import re
import sys
import unicodedata

import pytest

from penstock.wire.patterns import translate

TAG = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"


def test_properties_are_exact_for_every_character():
    """Half a second for all of Unicode: a sample would miss the odd character."""
    one = translate(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+")
    everything = map(chr, range(sys.maxunicode + 1))
    wanted = {c for c in everything if unicodedata.category(c)[0] in "LZN" or c in "_.:/=+-@"}
    text = "".join(c for c in map(chr, range(sys.maxunicode + 1)))
    assert set("".join(one.findall(text))) == wanted


@pytest.mark.parametrize("value", ["", "name", "Größe 1", "キー=値", "a\u2028b", "½"])
def test_a_tag_may_hold(value):
    assert translate(TAG).fullmatch(value)


@pytest.mark.parametrize("value", ["a\tb", "a\n", "a!", "é\u0301", "😀", "a*"])
def test_a_tag_may_not_hold(value):
    assert not translate(TAG).fullmatch(value)


def test_a_dot_stops_at_every_line_end():
    dot = translate("a.c")
    assert all(dot.fullmatch(f"a{c}c") for c in "b\t\x00\x0b\x0c 😀")
    assert not any(dot.fullmatch(f"a{c}c") for c in "\n\r\u0085\u2028\u2029")


def test_a_dot_in_a_class_or_escaped_is_a_dot():
    assert not translate(r"[.]\.").fullmatch("ab")
    assert translate(r"[.\]]\.").fullmatch("]."), "an escaped bracket does not end the class"


def test_classes_are_ascii():
    assert translate(r"\d{2}\w\s").fullmatch("12a ")
    assert not translate(r"\d").fullmatch("٣")
    assert not translate(r"\w").fullmatch("é")
    assert not translate(r"\s").fullmatch("\u00a0")


def test_surrogate_pairs_are_one_character():
    pattern = translate(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*")
    assert pattern.fullmatch("select 😀 \U0010ffff\t")
    assert not pattern.fullmatch("\x01")
    assert not pattern.fullmatch("\ufffe")


@pytest.mark.parametrize("pattern", [r"\p{Alpha}", r"[\p{L}]", r"\P{L}", "[a-z&&[^b]]"])
def test_the_rest_of_java_is_refused(pattern):
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        translate(pattern)
