"""From words to names: people, brands and so on in arguments are matched to the catalogue, never guessed at silently.

The surest way that finds something decides:

1. the name as written, case, accents and punctuation aside;
2. the last words of names ("Kubrick", "De Niro"): every name that ends so, since each of them is called that;
3. other words of just one name, half of its words at least ("Meryl", "Francis Coppola", "Faber" of Faber-Castell);
4. a misspelling: the nearest name (or last word of names), if near enough and clearly ahead of the next, and what
   differs is no word of another name ("Jake Johnson" is not "Jack Johnson" misspelt).

What was taken for what was said is told whenever the two differ; below that, the reply asks which was meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from ..catalog.filters import Filter, mask
from ..catalog.items import AttributeSpec, Catalogue
from ..catalog.text import fold, one_line
from ..errors import ToolError
from .linker import MOST_OPTIONS, Ambiguous
from .titles import PerCatalogue

#: A misspelt name must be this like (0..100) and beat the next by the margin: set like those of titles.
THRESHOLD = 80.0
MARGIN = 8.0
#: A name of fewer letters is never taken for misspelt; a last word by itself needs more, as there are many.
SHORTEST = 5
SHORTEST_LAST = 6
#: The likeness, at most, of a name that differs by a word of another: never enough, and near enough to ask.
JUST_UNDER = 73.0
#: "Ed Begley" is not "Ed Begley Jr.".
_OF_SONS = frozenset({"jr", "sr", "ii", "iii"})
#: How like a name must be to be asked about.
ASKED_ABOUT = 70.0


class NoSuchName(ToolError):
    """Nothing in the catalogue carries the name, nor one like it."""


@dataclass(frozen=True, eq=False)
class Named:
    """What a name in an argument means.

    Attributes:
        rows: shape (n_items,), the items that carry it.
        attributes: under which it was found.
        taken: the names it was taken for, as the catalogue writes them; none when it was said as written.
    """

    rows: NDArray[np.bool_]
    attributes: tuple[str, ...]
    taken: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """The names of one attribute.

    Attributes:
        written: names by their folded words, as the catalogue writes them.
        tight: the folded words without spaces, in the same order.
        by_last: folded names by their last word.
        by_word: folded names by each of their words.
    """

    written: Mapping[str, str]
    tight: Sequence[str]
    by_last: Mapping[str, Sequence[str]]
    by_word: Mapping[str, Sequence[str]]


def find_name(
    catalogue: Catalogue,
    specs: Sequence[AttributeSpec],
    name: str,
    *,
    threshold: float = THRESHOLD,
    margin: float = MARGIN,
) -> Named:
    """The items that carry a name under any of some attributes.

    Args:
        specs: the attributes that hold names.
        name: as the user wrote it.
        threshold: least likeness of a misspelt name, 0..100.
        margin: least lead over the next.

    Raises:
        Ambiguous: several names come near, or one that is not near enough.
        NoSuchName: no name comes near.
    """
    rows, attributes = _carrying(catalogue, specs, (name,))
    if attributes:
        return Named(rows, attributes, ())
    indexes = [names_of(catalogue)(spec.name) for spec in specs]
    words = fold(name).split()
    taken = _by_words(indexes, words) if words else []
    if not taken and words:
        taken = _misspelt(name, indexes, words, threshold, margin)
    if not taken:
        raise NoSuchName(f"nothing here carries the name {name!r}")
    found = _written(indexes, taken)
    rows, attributes = _carrying(catalogue, specs, found)
    return Named(rows, attributes, found)


def _carrying(
    catalogue: Catalogue, specs: Sequence[AttributeSpec], names: Sequence[str]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    rows = np.zeros(len(catalogue), dtype=np.bool_)
    attributes = []
    for spec in specs:
        own = np.zeros(len(catalogue), dtype=np.bool_)
        for name in names:
            own |= mask(catalogue, (Filter(attribute=spec.name, op="is", value=name),))
        if own.any():
            rows |= own
            attributes.append(spec.name)
    return rows, tuple(attributes)


def _by_words(indexes: Sequence[_Names], words: Sequence[str]) -> list[str]:
    """Names that end in the words; else the one name that holds them as half of its words or more."""
    if len("".join(words)) < 3:
        return []
    ending = [
        key for index in indexes for key in index.by_last.get(words[-1], ()) if key.split()[-len(words) :] == [*words]
    ]
    if ending:
        return list(dict.fromkeys(ending))
    holding = [
        key
        for index in indexes
        for key in index.by_word.get(words[0], ())
        if 2 * len(words) >= len(key.split()) and set(words) <= set(key.split()) and key.split()[-1] not in _OF_SONS
    ]
    holding = list(dict.fromkeys(holding))
    return holding if len(holding) == 1 else []


def _misspelt(
    name: str,
    indexes: Sequence[_Names],
    words: Sequence[str],
    threshold: float,
    margin: float,
) -> list[str]:
    """The name that is nearest, or all that end in the nearest last word; none where nothing comes near.

    Raises:
        Ambiguous: it is not near enough, or not clearly ahead.
    """
    scores: dict[tuple[str, ...], float] = {}
    tight = "".join(words)
    if len(tight) >= SHORTEST:
        for index in indexes:
            for score, key in _alike(tight, list(index.written), index.tight):
                others = set(words).difference(key.split())
                known = any(word in other.by_word for word in others for other in indexes)
                known |= key.split()[-1] in _OF_SONS.difference(words)
                scores[(key,)] = min(score, JUST_UNDER) if known else score
    if len(words) == 1 and len(tight) >= SHORTEST_LAST:
        lasts = list(dict.fromkeys(last for index in indexes for last in index.by_last))
        for score, last in _alike(tight, lasts, lasts):
            holders = dict.fromkeys(key for index in indexes for key in index.by_last.get(last, ()))
            scores[tuple(holders)] = score
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    if ranked and ranked[0][1] >= threshold:
        close = [keys for keys, score in ranked if ranked[0][1] - score <= margin]
        if len(close) == 1:
            return list(close[0])
        raise Ambiguous(name, _labels(indexes, close))
    holding = [(key,) for index in indexes for key in index.by_word.get(words[0], ()) if set(words) <= set(key.split())]
    near = [*holding, *(keys for keys, _ in ranked)]
    if near:
        raise Ambiguous(name, _labels(indexes, near))
    return []


def _alike(tight: str, keys: Sequence[str], compared: Sequence[str]) -> list[tuple[float, str]]:
    found = process.extract(tight, compared, scorer=OSA.normalized_similarity, score_cutoff=ASKED_ABOUT / 100, limit=10)
    return [(100 * score, keys[at]) for _, score, at in found]


def _written(indexes: Sequence[_Names], keys: Iterable[str]) -> tuple[str, ...]:
    """Names as the catalogue writes them."""
    return tuple(next(index.written[key] for index in indexes if key in index.written) for key in keys)


def _labels(indexes: Sequence[_Names], groups: Iterable[Sequence[str]]) -> list[str]:
    best = dict.fromkeys(keys[0] for keys in groups)
    return [one_line(name, 60) for name in _written(indexes, list(best)[:MOST_OPTIONS])]


class _Indexes:
    """Names of a catalogue by attribute, each read when it is first asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        # The frame alone: what is kept for a catalogue must not keep the catalogue alive.
        self._frame = catalogue.frame
        self._read: dict[str, _Names] = {}

    def __call__(self, attribute: str) -> _Names:
        if attribute not in self._read:
            column = self._frame[attribute].drop_nulls()
            values = column.explode().drop_nulls() if column.dtype.is_nested() else column
            written: dict[str, str] = {}
            by_last: defaultdict[str, list[str]] = defaultdict(list)
            by_word: defaultdict[str, list[str]] = defaultdict(list)
            for value in values.value_counts(sort=True)[attribute].to_list():  # the best known first
                key = fold(value)
                if not key or key in written:
                    continue
                written[key] = value
                words = key.split()
                by_last[words[-1]].append(key)
                for word in dict.fromkeys(words):
                    by_word[word].append(key)
            tight = [key.replace(" ", "") for key in written]
            self._read[attribute] = _Names(written, tight, dict(by_last), dict(by_word))
        return self._read[attribute]


#: The names of a catalogue, by attribute.
names_of = PerCatalogue(_Indexes)
