"""Folding of text for comparison, and cleaning of text from outside before it is shown or prompted."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORD = re.compile(r"[\W_]+", re.UNICODE)


def fold(text: str) -> str:
    """Lower case, no accents, punctuation and runs of space as one space: how labels and titles are compared."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    return _NOT_WORD.sub(" ", bare).strip()


def one_line(text: str, limit: int = 200) -> str:
    """Text from outside as one line of printable characters, at most ``limit`` long.

    Control characters (terminal escapes among them) and line breaks become spaces, so that item text can
    neither move the cursor nor pose as a new line of a prompt.
    """
    clean = "".join(c if c.isprintable() else " " for c in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
