"""Numbers, decades and places in a list, as words say them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNDER_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_SMALL = {word: value for value, word in enumerate(_UNDER_TWENTY.split())}
_ROUND = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * value for value, word in enumerate(_ROUND, start=2)}
_SCALES = {"hundred": 100, "thousand": 1000}
_PLACES = {
    word: value
    for value, word in enumerate(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], start=1
    )
} | {"top": 1}  # fmt: skip
_DECADES = {
    word: 10 * value
    for value, word in enumerate(
        ["twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"], start=2
    )
}  # fmt: skip
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_PLACE_DIGITS = re.compile(r"(\d+)(?:st|nd|rd|th)")
_DECADE_DIGITS = re.compile(r"(?:\d\d)?\d0s")


def place_at(words: Sequence[str], at: int) -> tuple[int, int] | None:
    """The place in a list that is named here ("second", "2nd", "number 2"), and where its words end."""
    word = words[at]
    if word in _PLACES:
        return _PLACES[word], at + 1
    if (match := _PLACE_DIGITS.fullmatch(word)) is not None:
        return int(match[1]), at + 1
    if word in ("number", "no", "item") and at + 1 < len(words) and (found := number_at(words, at + 1)) is not None:
        return int(found[0]), found[1]
    return None


def decade_at(words: Sequence[str], at: int) -> tuple[int, int] | None:
    """The first year of a decade that is named here, with or without its century, and where its words end."""
    word = words[at]
    if word in _DECADES:
        return _DECADES[word], at + 1
    if _DECADE_DIGITS.fullmatch(word):
        return int(word[:-1]), at + 1
    if word in ("nineteen", "eighteen") and at + 1 < len(words) and words[at + 1] in _DECADES:
        return 100 * _SMALL[word] + _DECADES[words[at + 1]], at + 2
    return None


def number_at(words: Sequence[str], at: int) -> tuple[float, int] | None:
    """The number that is written here, in digits or in words, and where its words end.

    Years are read as they are said: "nineteen ninety-five", "two thousand and three", "twenty twelve".
    """
    word = words[at]
    if _DIGITS.fullmatch(word):
        plain = re.sub(r",(?=\d{3})", "", word).replace(",", ".")
        return (float(plain) if plain.count(".") < 2 else float("nan")), at + 1
    if any(c.isnumeric() for c in word):
        return float("nan"), at + 1  # "½", "4k": a number, and none that evidence could hold
    first = _below_hundred(words, at)
    if first is None:
        return None
    value, end = first
    second = _below_hundred(words, end) if end < len(words) else None
    if 11 <= value <= 20 and second is not None and second[0] >= 10:
        return float(100 * value + second[0]), second[1]
    if 11 <= value <= 20 and second is not None and words[end] in ("oh", "zero"):
        return float(100 * value + second[0]), second[1]
    total = 0
    while end < len(words) and words[end] in _SCALES:
        total += value * _SCALES[words[end]]
        end, value = end + 1, 0
        begins = end + 1 if end + 1 < len(words) and words[end] == "and" else end
        if begins < len(words) and (more := _below_hundred(words, begins)) is not None:
            value, end = more
    return float(total + value), end


def _below_hundred(words: Sequence[str], at: int) -> tuple[int, int] | None:
    word = words[at] if at < len(words) else ""
    if word in _SMALL:
        return _SMALL[word], at + 1
    if word in _TENS:
        unit = _SMALL.get(words[at + 1], 0) if at + 1 < len(words) else 0
        return (_TENS[word] + unit, at + 2) if 0 < unit < 10 else (_TENS[word], at + 1)
    return None
