"""Finding an item by its title, whole or nearly so: what vectors of meaning are bad at."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .text import fold

#: A title may end in something nobody types: "Heat (1995)".
_TAIL = re.compile(r"(\s*\([^()]*\))+\s*$")
#: A shorter word is not taken for a misspelling of another.
_SHORTEST_MISSPELT = 4
#: Similarity, of 100, from which an unknown word is taken for a misspelling.
_ALIKE = 80
#: With more unknown words than this the text is no title, and comparing each with all words takes milliseconds.
_MOST_MISSPELT = 2


class TitleIndex:
    """Words of all titles, weighted by how rare they are.

    The score of a title is the geometric mean of two shares of weight: of the query's words that are in the title, and
    of the title's words that are in the query (those in a closing parenthesis need not be). 1 is the whole title and
    nothing else. A word that no title has counts as the title word most like it, if one is.

    Args:
        titles: in row order.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        anywhere: defaultdict[str, list[int]] = defaultdict(list)
        needed: defaultdict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(titles):
            words = set(fold(title).split())
            for word in words:
                anywhere[word].append(row)
            for word in set(fold(_TAIL.sub("", title)).split()) or words:
                needed[word].append(row)
        self._weight = {word: math.log(1 + len(titles) / len(rows)) for word, rows in anywhere.items()}
        self._unknown_weight = math.log(1 + len(titles))
        self._words = list(anywhere)
        self._anywhere = {word: np.array(rows, dtype=np.int64) for word, rows in anywhere.items()}
        self._needed = {word: np.array(rows, dtype=np.int64) for word, rows in needed.items()}
        self._total = np.zeros(len(titles))
        for word, rows in self._needed.items():
            self._total[rows] += self._weight[word]

    def nearest(
        self, text: str, k: int, mask: NDArray[np.bool_] | None, least: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Titles that are nearly what the text says, best first, equal ones by row.

        Args:
            text: what was asked.
            k: how many at most.
            mask: shape (n_titles,): rows that may be returned; None for all.
            least: lowest score returned, in (0, 1].

        Returns:
            (rows, scores in (0, 1]), both shape (at most k,).
        """
        words = list(dict.fromkeys(fold(text).split()))
        compare = sum(word not in self._weight for word in words) <= _MOST_MISSPELT
        asked = 0.0
        in_title = np.zeros(len(self._total))
        in_query = np.zeros(len(self._total))
        for word in words:
            known, alike = (word, 1.0) if word in self._weight else self._closest(word) if compare else (None, 0.0)
            if known is None:
                asked += self._unknown_weight
                continue
            weight = self._weight[known]
            asked += weight
            in_title[self._anywhere[known]] += weight * alike
            needed = self._needed.get(known)
            if needed is not None:
                in_query[needed] += weight * alike
        rows = np.flatnonzero(in_query if mask is None else (in_query > 0) & mask)
        # Two misspellings of one word would count it twice.
        shares = np.minimum(in_title[rows] / asked, 1.0) * np.minimum(in_query[rows] / self._total[rows], 1.0)
        scores = np.sqrt(shares).astype(np.float32) if len(rows) else np.empty(0, dtype=np.float32)
        rows, scores = rows[scores >= least], scores[scores >= least]
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def _closest(self, word: str) -> tuple[str | None, float]:
        if len(word) < _SHORTEST_MISSPELT:
            return None, 0.0
        from rapidfuzz import fuzz, process

        found = process.extractOne(word, self._words, scorer=fuzz.ratio, score_cutoff=_ALIKE)
        return (found[0], found[1] / 100) if found else (None, 0.0)
