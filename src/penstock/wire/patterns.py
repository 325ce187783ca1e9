r"""The models' patterns, which are Java's, as patterns of Python's `re`.

They differ in the few points that the models use:

* `\d`, `\w`, `\s` are ASCII in Java (here: `re.ASCII`).
* `.` in Java stops at every line end that Unicode knows, in Python at `\n` only.
* A pair of surrogate escapes is one character in Java (`\uD800\uDC00` is U+10000).
* `\p{L}`, `\p{N}`, `\p{Z}` don't exist in Python. Python's own Unicode `\w` is exactly L, N and the
  underscore, and the models write these three side by side only; Z is a short list.

What else a pattern may hold is the same in both. A pattern that asks for more is refused by `translate`,
and a test translates all that are served.
"""

from __future__ import annotations

import re
from functools import cache

#: The general category Z (separators), complete.
_SEPARATORS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_LETTERS_SEPARATORS_NUMBERS = r"\p{L}\p{Z}\p{N}_"
_SURROGATES = re.compile(r"\\u(D[89AB][0-9A-F]{2})\\u(D[C-F][0-9A-F]{2})", re.IGNORECASE)
_TOKEN = re.compile(r"\\.|[\[\].]", re.DOTALL)


@cache
def translate(pattern: str) -> re.Pattern[str]:
    """Compile a Java pattern of a service model.

    Raises:
        ValueError: It uses something of Java's that is not translated.
    """
    text = _SURROGATES.sub(_join, pattern).replace(_LETTERS_SEPARATORS_NUMBERS, r"\w" + _SEPARATORS)
    if r"\p" in text or r"\P" in text or "&&" in text:
        raise ValueError(f"The pattern {pattern!r} uses a part of Java's syntax that is not translated.")
    # Unicode's \w stands for the properties; there is no other use of a class in such a pattern.
    flags = re.NOFLAG if r"\p" in pattern else re.ASCII
    return re.compile(_dots(text), flags)


def _join(pair: re.Match[str]) -> str:
    high, low = (int(part, 16) for part in pair.groups())
    return rf"\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _dots(text: str) -> str:
    """Give each dot outside a class Java's meaning."""
    within = False

    def replace(token: re.Match[str]) -> str:
        nonlocal within
        match token[0]:
            case "[":
                within = True
            case "]":
                within = False
            case "." if not within:
                return r"[^\n\r\u0085\u2028\u2029]"
        return token[0]

    return _TOKEN.sub(replace, text)
