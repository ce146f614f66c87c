"""Typing as it is: letters swapped, dropped and doubled, signs left out. What a plan copies stays as it was meant."""

from __future__ import annotations

import re
from collections.abc import Collection
from random import Random

_WORD = re.compile(r"[A-Za-z]{4,}")
_SHORTER = {"please": "pls", "something": "smth", "because": "cuz", "with": "w/", "people": "ppl", "your": "ur"}


def mistyped(text: str, rng: Random, *, keep: Collection[str], share: float) -> str:
    """A text with typing errors.

    Args:
        keep: words (any case) that stay as they are.
        share: of the words of four letters and more that get one.
    """
    kept = {word.casefold() for one in keep for word in re.findall(r"[\w'’]+", one)}

    def wrong(found: re.Match[str]) -> str:
        word = found.group()
        if word.casefold() in kept or rng.random() >= share:
            return word
        if word.casefold() in _SHORTER and rng.random() < 0.5:
            return _SHORTER[word.casefold()]
        at = rng.randrange(1, len(word) - 1)
        match rng.randrange(4):
            case 0:
                return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            case 1:
                return word[:at] + word[at + 1 :]
            case 2:
                return word[:at] + word[at] + word[at:]
            case _:
                return word[:at] + rng.choice("aeioustnr") + word[at + 1 :]

    return _WORD.sub(wrong, text)


def unsigned(text: str, rng: Random) -> str:
    """A text without its last stop, and perhaps without apostrophes."""
    bare = re.sub(r"[.!?]+$", "", text)
    return re.sub(r"(?<=[a-z])['’](?=(?:t|m|s|re|ve|ll|d)\b)", "", bare) if rng.random() < 0.5 else bare
