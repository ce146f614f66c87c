"""What a person leans to, and away from, as far as the catalogue's attributes tell, and no further than chance allows.

A value of an attribute (a genre, a name, a year above the middle) is looked at in two ways:

- *to*: *k* of the *n* items liked have it. Were they chosen as people choose here, each would have it with the chance
  *p*: its share of the log's choices, every item counted once more than it was chosen, so that of a catalogue without a
  log it is the share of the items. The chance of *k* or more is the binomial tail.
- *away*: *k* of the *n* judged items that have it were disliked, out of *D* disliked of *N* judged. Were dislikes
  spread over what was judged, the chance of *k* or more is the hypergeometric tail (Fisher's exact test).

A value is told where that chance is below its part of `LEVEL`, which is shared out evenly over the attributes, the two
ways, and the values of the attribute that `FEWEST` or more items have (Bonferroni; Dunn 1961, "Multiple comparisons
among means"). So of people without any leaning at most one in twenty is told of one, however many values a catalogue
has. At most `MOST` are told, those hardest to explain by chance first; none of fewer than `FEWEST` items. A value that
would be told both ways is told in neither, and what a person said outright wins: a leaning that it contradicts is not
told, and one that it confirms is inferred no more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.items import Catalogue
from ..catalog.text import fold
from .events import Polarity
from .fold import Taste

#: Of people without any leaning, at most this share is told of one.
LEVEL: Final = 0.05
#: Leanings told at most, and items one rests on at least.
MOST: Final = 6
FEWEST: Final = 3

#: How it is known that an item was liked or disliked: an event of this kind, or the log of the build.
How = Literal["rating", "like", "dislike", "log"]


@dataclass(frozen=True, slots=True)
class Judged:
    """An item (row of the catalogue) that a person liked or did not, and how that is known."""

    row: int
    liked: bool
    how: How


@dataclass(frozen=True, slots=True)
class Leaning:
    """Something a person leans to (polarity 1) or away from (-1).

    Attributes:
        attribute, term: as the catalogue has them; of a number the term says on which side of what it lies ("years up
            to 1994").
        label: whether it is a label of items, which can be stated as a taste.
        count, of: *to*: so many of the items liked have it; *away*: so many of the judged items that have it were
            disliked. Items of which the attribute is not known are left out.
        usual: the share to be expected: of what people choose, or of dislikes among the other items judged.
        others: how many other items were judged; 0 for *to*.
        chance: of as many or more where there is no leaning, in [0, 1].
        hows: how it is known of the ``count`` items, and of how many each.
        stated: the taste that says the same; None: it is inferred.
    """

    attribute: str
    term: str
    polarity: Polarity
    label: bool
    count: int
    of: int
    usual: float
    others: int
    chance: float
    hows: tuple[tuple[How, int], ...]
    stated: Taste | None = None

    @property
    def inferred(self) -> bool:
        return self.stated is None


@dataclass(frozen=True, slots=True)
class _Value:
    """One value of an attribute, its share of what people choose, and which of the judged items have it."""

    term: str
    share: float
    having: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Attribute:
    """An attribute as it is looked at.

    Attributes:
        known: places of the judged items of which it is known.
        size: values that `FEWEST` or more items of the catalogue have, whoever judged them.
        values: of these, those that as many of the judged items have.
    """

    name: str
    label: bool
    known: frozenset[int]
    size: int
    values: tuple[_Value, ...]


def leanings_of(
    catalogue: Catalogue,
    judged: Sequence[Judged],
    counts: NDArray[np.integer],
    tastes: Iterable[Taste] = (),
) -> tuple[Leaning, ...]:
    """What a person leans to and away from, by the rules at the top of this module; the surest first.

    Args:
        catalogue: the live catalogue.
        judged: each item once.
        counts: (n_items,) people in the log who chose each item.
        tastes: that stand; those that last and were not inferred are taken at their word.

    Raises:
        ValueError: counts are not of the catalogue's items.
    """
    if len(counts) != len(catalogue):
        raise ValueError(f"{len(counts)} counts for {len(catalogue)} items")
    if len(judged) < FEWEST:
        return ()
    weights = counts.astype(np.float64) + 1.0
    rows = np.array([one.row for one in judged], dtype=np.int64)
    looked_at = [one for name in catalogue.attribute_names if (one := _look(catalogue, name, rows, weights)).size]
    told: list[tuple[float, Leaning]] = []
    for attribute in looked_at:
        level = LEVEL / (2 * len(looked_at) * attribute.size)
        for value in attribute.values:
            sure = [one for one in _both_ways(attribute, value, judged) if one.chance < level]
            if len(sure) == 1:
                told.append((sure[0].chance / level, sure[0]))
    told.sort(key=lambda pair: (pair[0], pair[1].attribute, pair[1].term))
    said = [taste for taste in tastes if taste.scope == "always" and taste.source != "inferred"]
    numbers: set[str] = set()
    found: list[Leaning] = []
    for _, leaning in told:
        settled = _as_said(leaning, said)
        if settled is None or settled.attribute in numbers:
            continue
        if not settled.label:
            numbers.add(settled.attribute)  # to what lies above the middle, and away from what lies below, is one thing
        found.append(settled)
    return tuple(found[:MOST])


def _look(catalogue: Catalogue, name: str, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> _Attribute:
    column = catalogue.frame[name]
    return (_numbers if column.dtype.is_numeric() else _labels)(column, rows, weights)


def _labels(column: pl.Series, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> _Attribute:
    pairs = pl.DataFrame({"row": np.arange(len(column), dtype=np.int64), "weight": weights, "label": column})
    if isinstance(column.dtype, pl.List):
        pairs = pairs.explode("label")
    pairs = pairs.filter(pl.col("label").is_not_null() & (pl.col("label").str.strip_chars() != ""))
    pairs = pairs.unique(["row", "label"])
    total = float(pairs.unique("row")["weight"].sum())
    shares = pairs.group_by("label").agg(pl.col("weight").sum(), items=pl.len()).filter(pl.col("items") >= FEWEST)
    own = pl.DataFrame({"row": rows, "at": np.arange(len(rows), dtype=np.int64)}).join(pairs, on="row")
    having = own.group_by("label").agg("at").join(shares, on="label").sort("label").select("label", "at", "weight")
    values = tuple(
        _Value(label, weight / total, frozenset(at)) for label, at, weight in having.iter_rows() if len(at) >= FEWEST
    )
    return _Attribute(column.name, True, frozenset(own["at"].to_list()), shares.height, values)


def _numbers(column: pl.Series, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> _Attribute:
    """Above the middle of what people choose, or not."""
    numbers = column.cast(pl.Float64).fill_null(math.nan).to_numpy()
    filled = np.isfinite(numbers)
    known = frozenset(np.flatnonzero(filled[rows]).tolist())
    nothing = _Attribute(column.name, False, known, 0, ())
    if not filled.any():
        return nothing
    order = np.argsort(numbers[filled], kind="stable")
    reached = np.cumsum(weights[filled][order])
    middle = float(numbers[filled][order][np.searchsorted(reached, reached[-1] / 2)])
    above = filled & (numbers > middle)
    below = filled & ~above
    if min(above.sum(), below.sum()) < FEWEST:
        return nothing
    values = tuple(
        _Value(
            f"{_plural(column.name)} {words} {middle:.15g}",
            float(weights[side].sum() / reached[-1]),
            frozenset(np.flatnonzero(side[rows]).tolist()),
        )
        for words, side in (("above", above), ("up to", below))
    )
    return _Attribute(column.name, False, known, 2, values)


def _plural(name: str) -> str:
    """An attribute's name as its values are spoken of: the years, the runtimes."""
    spoken = name.replace("_", " ")
    return spoken if spoken.endswith("s") else f"{spoken}s"


def _both_ways(attribute: _Attribute, value: _Value, judged: Sequence[Judged]) -> Iterator[Leaning]:
    """The value as leaned to and as leaned away from, each with what chance has to say."""
    liked = frozenset(at for at in attribute.known if judged[at].liked)
    disliked = attribute.known - liked
    both = liked & value.having
    if len(both) >= FEWEST:
        yield Leaning(
            attribute=attribute.name,
            term=value.term,
            polarity=1,
            label=attribute.label,
            count=len(both),
            of=len(liked),
            usual=value.share,
            others=0,
            chance=_binomial(len(both), len(liked), value.share),
            hows=hows_of(judged[at] for at in both),
        )
    both = disliked & value.having
    others = attribute.known - value.having
    if len(both) >= FEWEST:
        yield Leaning(
            attribute=attribute.name,
            term=value.term,
            polarity=-1,
            label=attribute.label,
            count=len(both),
            of=len(value.having),
            usual=len(disliked & others) / len(others) if others else 1.0,
            others=len(others),
            chance=_hypergeometric(len(both), len(value.having), len(disliked), len(attribute.known)),
            hows=hows_of(judged[at] for at in both),
        )


def _binomial(k: int, n: int, share: float) -> float:
    """The chance of k or more of n, each with the chance ``share``; k is at least 1."""
    from scipy.special import bdtrc

    return float(bdtrc(k - 1, n, min(share, 1.0)))


def _hypergeometric(k: int, n: int, marked: int, size: int) -> float:
    """The chance that of n drawn out of ``size``, of which some are marked, k or more are marked."""
    from scipy.special import gammaln

    def ways(of: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithm of "of choose chosen"; minus infinity where there are too few."""
        found: NDArray[np.float64] = gammaln(of + 1) - gammaln(chosen + 1) - gammaln(of - chosen + 1)
        return found

    drawn = np.arange(k, min(n, marked) + 1, dtype=np.int64)
    logs = ways(marked, drawn) + ways(size - marked, n - drawn) - ways(size, np.array([n], dtype=np.int64))
    return min(float(np.exp(logs).sum()), 1.0)


def hows_of(judged: Iterable[Judged]) -> tuple[tuple[How, int], ...]:
    """How it is known of items, and of how many each, in the order of `How`."""
    many = Counter(one.how for one in judged)
    return tuple((how, many[how]) for how in get_args(How) if many[how])


def _as_said(leaning: Leaning, said: Sequence[Taste]) -> Leaning | None:
    """The leaning with what was said of it; None where that is the opposite."""
    for taste in reversed(said):  # the latest first
        own = taste.attribute is None or fold(taste.attribute) == fold(leaning.attribute)
        if leaning.label and own and fold(taste.term) == fold(leaning.term):
            return replace(leaning, stated=taste) if taste.polarity == leaning.polarity else None
    return leaning
