"""Finding items by the very words of their text: names, brands and rare words, which vectors of meaning blur.

BM25 (Robertson & Zaragoza 2009, *The Probabilistic Relevance Framework: BM25 and Beyond*, section 3.2) over the text
that the text encoder reads. On disk it is a folder::

    manifest.json   written last
    words.txt       the distinct words, one a line
    offsets.npy     (n_words + 1,): where each word's items begin and end in the two files below
    rows.npy        rows of the items that have the word, by word
    impacts.npy     (as rows.npy) the word's saturated frequency in the item, to be multiplied by its rarity
"""

from __future__ import annotations

import math
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UserError
from .text import fold

_VERSION = 1
#: How fast repetition saturates, and how far long texts are discounted: the paper's usual values.
_K1, _B = 1.2, 0.75
#: Entries added up for one query, about a millisecond's worth. Only large catalogues have words so common ("the").
_MOST_ENTRIES = 100_000


class WordsManifest(BaseModel):
    """What a word index holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = _VERSION
    items: int
    words: int
    entries: int
    mean_length: float


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Words of all items' texts. Made by :func:`open_words`; ``len()`` is the number of rows it covers."""

    manifest: WordsManifest
    number_of: Mapping[str, int]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    impacts: NDArray[np.float32]
    live_rows: NDArray[np.int64]
    live_impacts: tuple[Mapping[str, float], ...]
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    def nearest(
        self, text: str, k: int, mask: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The items whose text has the words asked for.

        Args:
            text: what was asked.
            k: how many at most.
            mask: shape (len(self),): rows that may be returned; None for all.

        Returns:
            (rows, shares), both shape (at most k,), highest BM25 first, equal ones by row. A share, in (0, 1], is how
            much of the query an item has: its words' part of the rarity (idf) of all words asked for.
        """
        asked = self._asked(text)
        scores = np.zeros(self.n_rows, dtype=np.float32)
        covered = np.zeros(self.n_rows, dtype=np.float32)
        for word, rarity in asked.items():
            part = self._entries(word)
            rows = self.rows[part]
            scores[rows] += rarity * self.impacts[part]
            covered[rows] += rarity
        scores[self.live_rows] = covered[self.live_rows] = 0.0
        for row, impacts in zip(self.live_rows, self.live_impacts, strict=True):
            for word, rarity in asked.items():
                if word in impacts:
                    scores[row] += rarity * impacts[word]
                    covered[row] += rarity
        found = np.flatnonzero(scores > 0 if mask is None else (scores > 0) & mask)
        if len(found) > k:
            kth = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= kth]
        order = np.lexsort((found, -scores[found]))[:k]
        best = found[order]
        return best, np.minimum(covered[best] / np.float32(sum(asked.values())), np.float32(1.0))

    def overlaid(self, rows: NDArray[np.int64], texts: Sequence[str], n_rows: int) -> WordIndex:
        """This index with live changes: ``texts[i]`` in place of, or in addition to, what row ``rows[i]`` had.

        Rarities stay those of the build. Args as in :meth:`.ViewIndex.overlaid`.
        """
        if len(texts) != len(rows) or n_rows < self.manifest.items:
            raise ValueError(f"{len(texts)} live texts for {len(rows)} rows of {n_rows}")
        counts = [_count(text, {}) for text in texts]
        impacts = tuple(
            {word: _impact(times, count.total(), self.manifest.mean_length) for word, times in count.items()}
            for count in counts
        )
        return replace(self, live_rows=rows.astype(np.int64), live_impacts=impacts, n_rows=n_rows)

    def _entries(self, word: str) -> slice:
        number = self.number_of.get(word)
        return slice(0, 0) if number is None else slice(int(self.offsets[number]), int(self.offsets[number + 1]))

    def _asked(self, text: str) -> dict[str, float]:
        """The query's words and their rarities, rarest first, without the commonest where they would take long."""
        counts = {word: part.stop - part.start for word in fold(text).split() for part in [self._entries(word)]}
        asked: dict[str, float] = {}
        entries = 0
        for word, items in sorted(counts.items(), key=lambda pair: (pair[1], pair[0])):
            entries += items
            if asked and entries > _MOST_ENTRIES:
                break
            asked[word] = math.log(1 + (self.manifest.items - items + 0.5) / (items + 0.5))
        return asked


def build_words(folder: Path, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> None:
    """Write a word index to ``folder``, whole or not at all.

    Args:
        folder: replaced where it exists.
        texts: in catalogue order.
        progress: called with (done, total) items.
    """
    folded: dict[str, tuple[str, ...]] = {}
    rows_of: defaultdict[str, array[int]] = defaultdict(lambda: array("i"))
    times_of: defaultdict[str, array[int]] = defaultdict(lambda: array("i"))
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        count = _count(text, folded)
        lengths[row] = count.total()
        for word, times in count.items():
            rows_of[word].append(row)
            times_of[word].append(times)
        if progress is not None and ((row + 1) % 1000 == 0 or row + 1 == len(texts)):
            progress(row + 1, len(texts))
    words = sorted(rows_of)
    empty = np.empty(0, dtype=np.int32)
    rows = np.concatenate([empty, *(np.asarray(rows_of[word], dtype=np.int32) for word in words)])
    often = np.concatenate([empty, *(np.asarray(times_of[word], dtype=np.int32) for word in words)])
    mean_length = float(lengths.mean()) if lengths.any() else 1.0
    impacts = often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * lengths[rows] / mean_length))
    manifest = WordsManifest(items=len(texts), words=len(words), entries=len(rows), mean_length=mean_length)

    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    (making / "words.txt").write_text("\n".join(words), encoding="utf-8", newline="\n")
    offsets = np.cumsum([0, *(len(rows_of[word]) for word in words)], dtype=np.int64)
    for name, values in (("offsets", offsets), ("rows", rows), ("impacts", impacts.astype(np.float32))):
        np.save(making / f"{name}.npy", values, allow_pickle=False)
    (making / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)


def open_words(folder: Path) -> WordIndex:
    """Open a word index that :func:`build_words` wrote.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        manifest = WordsManifest.model_validate_json((folder / "manifest.json").read_bytes())
        words = (folder / "words.txt").read_text(encoding="utf-8").split("\n") if manifest.words else []
        offsets, rows, impacts = (
            np.load(folder / f"{name}.npy", mmap_mode="r" if manifest.entries else None, allow_pickle=False)
            for name in ("offsets", "rows", "impacts")
        )
    except (OSError, ValueError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise UserError(f"the word index at {folder} cannot be read ({first}): build the workspace again") from error
    sizes = (len(words), len(offsets), len(rows), len(impacts))
    if (
        manifest.version != _VERSION
        or sizes != (manifest.words, manifest.words + 1, manifest.entries, manifest.entries)
        or offsets[-1] != manifest.entries
    ):
        raise UserError(f"the word index at {folder} is damaged or from another version: build the workspace again")
    return WordIndex(
        manifest=manifest,
        number_of={word: number for number, word in enumerate(words)},
        offsets=np.array(offsets),
        rows=rows,
        impacts=impacts,
        live_rows=np.empty(0, dtype=np.int64),
        live_impacts=(),
        n_rows=manifest.items,
    )


def _count(text: str, folded: dict[str, tuple[str, ...]]) -> Counter[str]:
    """Times each folded word occurs; ``folded`` remembers words seen, which saves most of the time."""
    count: Counter[str] = Counter()
    for piece in text.split():
        if piece not in folded:
            folded[piece] = tuple(fold(piece).split())
        count.update(folded[piece])
    return count


def _impact(times: int, length: int, mean_length: float) -> float:
    return times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * length / mean_length))
