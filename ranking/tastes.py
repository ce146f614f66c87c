"""Tastes stated outright ("funny ones", "no horror", "I love Hanks"), matched to the items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.filters import Filter, mask
from ..catalog.items import Catalogue
from ..catalog.text import fold
from .content import ContentRanker

#: How a taste found its items: by a label they carry, by the meaning of their text, or not at all.
How = Literal["label", "meaning", "nothing"]

#: Shorter words are not looked for inside labels: they are in too many.
_SHORTEST_WORD = 3


@dataclass(frozen=True, slots=True)
class Taste:
    """One stated taste.

    Attributes:
        attribute: name of the attribute it is about, None when it was not said or is not known.
        term: what is liked or not, in the user's words.
        polarity: 1 liked, -1 not.
        ref: evidence id (``event:<id>``).
        thread: the only conversation it counts in; None: in all of them.
        sure: in [0, 1], below 1 for what was inferred and not said.
    """

    attribute: str | None
    term: str
    polarity: Literal[1, -1]
    ref: str
    thread: str | None = None
    sure: float = 1.0


@dataclass(frozen=True, eq=False)
class TasteMatches:
    """Stated tastes against every item.

    Attributes:
        refs: (t,) evidence ids.
        how: (t,) how each taste found its items.
        signed: (t, n_items) float32 in [-1, 1], polarity times how well the item fits the term, times how sure it is.
        threads: (t,) the only conversation each counts in, None for all of them; empty: all count everywhere.
        thread: the conversation they were matched for.
    """

    refs: tuple[str, ...]
    how: tuple[How, ...]
    signed: NDArray[np.float32]
    threads: tuple[str | None, ...] = ()
    thread: str | None = None

    def thread_of(self, at: int) -> str | None:
        """The only conversation a taste counts in; None: all of them."""
        return self.threads[at] if self.threads else None

    def only(self, places: Sequence[int]) -> TasteMatches:
        """Some of them, in this order."""
        return replace(
            self,
            refs=tuple(self.refs[at] for at in places),
            how=tuple(self.how[at] for at in places),
            signed=self.signed[list(places)],
            threads=tuple(self.thread_of(at) for at in places),
        )

    @cached_property
    def _scale(self) -> np.float32:
        # One number for all items, so that shares still sum to scores: the tastes' sum stays as it is
        # while it fits into [-1, 1], else the best or worst fitting item ends at the edge.
        sums = self.signed.sum(axis=0)
        return np.float32(max(1.0, float(np.abs(sums).max(initial=0.0))))

    def scores(self) -> NDArray[np.float32]:
        """(n_items,) in [-1, 1]: 0 for an item no taste speaks of."""
        scores: NDArray[np.float32] = self.signed.sum(axis=0) / self._scale
        return scores

    def shares(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), t): what each taste added to each row's score."""
        shares: NDArray[np.float32] = self.signed[:, rows].T / self._scale
        return shares


def match_tastes(
    catalogue: Catalogue,
    tastes: Sequence[Taste],
    text: ContentRanker | None = None,
    encode: Callable[[Sequence[str]], NDArray[np.float32]] | None = None,
    *,
    thread: str | None = None,
) -> TasteMatches:
    """Match each taste by label where it can be, else by meaning.

    A label fits when it is the term, without regard to case, accents and punctuation, or, if no label is, when
    it holds the term as whole words ("Hanks" in "Tom Hanks"). The taste's own attribute is tried first, then
    every attribute. Fits are 1 or 0. A term that no label knows is compared by meaning: its cosine with each
    item's text less the mean text, and 0 for items less like it than the mean. That is a weaker say, as it should
    be: cosines of short terms seldom pass 0.5, and those of nonsense reach 0.25.

    Args:
        catalogue: the live catalogue.
        tastes: in any order.
        text: the text view of the catalogue; None leaves out meaning.
        encode: the view's encoder, texts to (m, d) unit rows; None leaves out meaning.
        thread: the conversation asked for: tastes of others are left out.
    """
    tastes = [taste for taste in tastes if taste.thread in (None, thread)]
    signed = np.zeros((len(tastes), len(catalogue)), dtype=np.float32)
    how: list[How] = []
    for at, taste in enumerate(tastes):
        labelled = _by_label(catalogue, taste)
        if labelled is not None:
            how.append("label")
            signed[at] = labelled
        elif text is not None and encode is not None and taste.term.strip():
            signed[at] = np.clip(text.similarity(encode([taste.term])[0]), 0, None)
            how.append("meaning" if signed[at].any() else "nothing")
        else:
            how.append("nothing")
        signed[at] *= taste.polarity * np.float32(taste.sure)
    return TasteMatches(
        refs=tuple(taste.ref for taste in tastes),
        how=tuple(how),
        signed=signed,
        threads=tuple(taste.thread for taste in tastes),
        thread=thread,
    )


def taste_scores(
    catalogue: Catalogue,
    tastes: Sequence[Taste],
    text: ContentRanker | None = None,
    encode: Callable[[Sequence[str]], NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """(n_items,) in [-1, 1]: how well each item fits all the tastes; see :func:`match_tastes`."""
    return match_tastes(catalogue, tastes, text, encode).scores()


def _by_label(catalogue: Catalogue, taste: Taste) -> NDArray[np.bool_] | None:
    """The items that carry the label, (n_items,); None when no item does."""
    if not fold(taste.term):
        return None
    own = [name for name in catalogue.attribute_names if name == taste.attribute]
    for names in (own, catalogue.attribute_names):
        for look in (_whole, _words):
            found = np.zeros(len(catalogue), dtype=np.bool_)
            for name in names:
                found |= look(catalogue, name, taste.term)
            if found.any():
                return found
    return None


def _whole(catalogue: Catalogue, name: str, term: str) -> NDArray[np.bool_]:
    if catalogue.frame.schema[name] == pl.Float64:
        return np.zeros(len(catalogue), dtype=np.bool_)
    return mask(catalogue, [Filter(attribute=name, op="is", value=term)])


def _words(catalogue: Catalogue, name: str, term: str) -> NDArray[np.bool_]:
    found = np.zeros(len(catalogue), dtype=np.bool_)
    words = fold(term)
    if len(words) < _SHORTEST_WORD or catalogue.frame.schema[name] == pl.Float64:
        return found
    # The filter finds parts of words too; only its finds are looked at word by word.
    rows = np.flatnonzero(mask(catalogue, [Filter(attribute=name, op="contains", value=term)]))
    for row, value in zip(rows, catalogue.frame[name].gather(rows).to_list(), strict=True):
        labels = value if isinstance(value, list) else [value]
        found[row] = any(f" {words} " in f" {fold(label)} " for label in labels if label is not None)
    return found
