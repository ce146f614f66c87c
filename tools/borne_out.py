"""What the choices of a person say of a taste they stated: of the items they liked, how many are what they named.

The items a taste names are those whose label it is ("Tom Hanks"), or, where no label is, those that carry every label
that stands in its words: "slow crime dramas" names what is both Crime and Drama. Words that no label says ("slow") are
not counted by, so the labels are told with the count. Only attributes with few values are read so, and only words that
put labels together: "crime or comedy" and "dramas without violence" name nothing that could be counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..catalog.filters import Filter, mask
from ..catalog.items import Catalogue
from ..catalog.text import fold
from ..profiles.fold import Taste
from ..profiles.leanings import How, Judged, hows_of
from ..ranking.tastes import Taste as Stated
from ..ranking.tastes import match_tastes
from .facets import MOST_CHOICES
from .mentions import labels_said

#: Words after which a label is not simply asked for.
_TURNS: Final = frozenset(
    {"and", "or", "no", "not", "nor", "never", "non", "without", "but", "except", "than", "less", "too", "instead"}
)


@dataclass(frozen=True, slots=True)
class Backing:
    """How many of the items judged bear a taste out.

    Attributes:
        count, of: so many of the items liked (of a dislike: not liked) are what the taste names; count is at least 1.
        labels: the labels that stand in its words; empty where it is a label as a whole.
        hows: how it is known of the ``count`` items, and of how many each.
    """

    count: int
    of: int
    labels: tuple[str, ...]
    hows: tuple[tuple[How, int], ...]


def backing_of(catalogue: Catalogue, taste: Taste, judged: Sequence[Judged]) -> Backing | None:
    """What was judged that bears a taste out; None where nothing does, or the catalogue cannot tell.

    Args:
        judged: each item once.
    """
    alike = [one for one in judged if one.liked == (taste.polarity == 1)]
    if not alike:
        return None
    named = _named(catalogue, taste)
    if named is None:
        return None
    rows, labels = named
    found = [one for one in alike if rows[one.row]]
    return Backing(len(found), len(alike), labels, hows_of(found)) if found else None


def _named(catalogue: Catalogue, taste: Taste) -> tuple[NDArray[np.bool_], tuple[str, ...]] | None:
    """(n_items,): the items that a taste names, and the labels in its words."""
    whole = match_tastes(catalogue, [Stated(taste.attribute, taste.term, 1, "")])
    if whole.how[0] == "label":
        return whole.signed[0] > 0, ()
    if _TURNS & set(fold(taste.term).split()):
        return None
    few = {
        name: spec.values
        for name, spec in catalogue.attributes.items()
        if spec.kind != "number" and 2 <= spec.distinct <= MOST_CHOICES
    }
    said = _longest(labels_said(sorted({label for values in few.values() for label in values}), taste.term))
    if not said:
        return None
    rows = np.ones(len(catalogue), dtype=np.bool_)
    for label in said:
        having = np.zeros(len(catalogue), dtype=np.bool_)
        for name, values in few.items():
            if label in values:
                having |= mask(catalogue, [Filter(attribute=name, op="is", value=label)])
        rows &= having
    return rows, said


def _longest(said: dict[str, str]) -> tuple[str, ...]:
    """The labels whose words are not part of another's: "science fiction" does not say "fiction" besides."""

    def inside(words: str, others: Iterable[str]) -> bool:
        return any(words != other and f" {words} " in f" {other} " for other in others)

    return tuple(label for label, words in said.items() if not inside(words, said.values()))
