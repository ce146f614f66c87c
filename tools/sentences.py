"""Sentences of a text that may still be in the making, and what is quoted in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .frames import Token

_ENDS = ".!?"


def split_sentences(text: str, titles: Iterable[str] = ()) -> tuple[list[str], str]:
    """The complete sentences of a text, and the rest that may still go on.

    A sentence ends at ``.``, ``!`` or ``?`` before a space and what is no small letter, but not inside a title.

    Args:
        titles: names that hold such signs ("Dr. Strangelove"); also where the text breaks off inside one.
    """
    guarded = [title for title in titles if any(sign in title for sign in _ENDS)]
    found: list[str] = []
    start = 0
    for match in re.finditer(r"[.!?]+[\"”’)]*(?=\s+[^\sa-z])", text):
        last = match.start() + len(match.group().rstrip('"”’)')) - 1
        if any(_inside(text, last, title) for title in guarded):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    return found, text[start:].lstrip()


def _inside(text: str, at: int, title: str) -> bool:
    return any(
        at >= offset and title.startswith(text[at - offset : at - offset + len(title)])
        for offset, sign in enumerate(title)
        if sign in _ENDS
    )


def is_whole(sentence: str) -> bool:
    """Whether it ends as a sentence does."""
    return sentence.rstrip().rstrip('"”’)').endswith(tuple(_ENDS))


def quotes_of(sentence: str) -> list[tuple[int, int]]:
    """Spans between quotation marks.

    Raises:
        ValueError: one is not closed.
    """
    found: list[tuple[int, int]] = []
    start: int | None = None
    for at, sign in enumerate(sentence):
        if sign not in '"“”':
            continue
        if start is None:
            start = at
        else:
            found.append((start, at))
            start = None
    if start is not None:
        raise ValueError("a quotation is not closed")
    return found


def quote_of(tokens: Sequence[Token], quotes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    if not tokens:
        return None
    return next((q for q in quotes if q[0] < tokens[0].start and tokens[-1].end <= q[1]), None)
