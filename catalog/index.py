"""The views of a catalogue: vectors of all items, and the nearest of them to a vector.

On disk a view is a folder::

    <name>/
      manifest.json   which encoder made it; written last
      vectors.npy     (n_items, d) float32, unit rows in catalogue order; a zero row has no such view
      chroma/         the graph index of the rows that are not zero (on a server instead, where a URL is given)
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UserError
from .chroma import ChromaCollection, Hnsw, create_collection, open_collection
from .vectors import SCAN_SHARE, exact_nearest, similarities, unit_rows

_VERSION = 1
_OPTION = {"text": "--text-model", "image": "--image-model"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a masked search costs in each of its ways, in milliseconds, as measured on one core.

    Exact search costs as much per number multiplied, whatever the dimension; the graph does not depend on the number of
    items, but must be asked for more of them the fewer pass.
    """

    graph_call: float = 2.8
    """One question to the graph, mostly the overhead of the call."""
    graph_result: float = 0.004
    """Each result of it."""
    picked_number: float = 0.17e-3 / 384
    """Exact search among picked rows, for each number of their vectors."""
    scanned_number: float = 0.05e-3 / 384
    """Exact search over all rows, for each number of theirs."""
    surplus: float = 1.5
    """Results asked of the graph, over the number that would do if the mask were independent of the query."""
    margin: int = 200
    """Results asked of it besides those wanted, at least, unless fewer are masked out: what a user has seen lies where
    their queries go."""

    def graph_is_faster(self, fetched: int, passing: int, rows: int, dimension: int) -> bool:
        """Whether ``fetched`` results of the graph cost less than an exact search of ``passing`` among ``rows``."""
        scanned = passing >= SCAN_SHARE * rows
        exact = self.scanned_number * rows if scanned else self.picked_number * passing
        return self.graph_call + self.graph_result * fetched < exact * dimension


PLAN = Plan()


class ViewManifest(BaseModel):
    """What made a view."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = _VERSION
    view: str
    model_id: str
    dimension: int
    metric: Literal["cosine"] = "cosine"
    rows: int
    count: int
    collection: str
    key: str
    hnsw: dict[str, int]


@dataclass(frozen=True, eq=False)
class ViewIndex:
    """Vectors of one view. Safe to use from many threads. Made by :func:`open_view`.

    ``len()`` is the number of catalogue rows it covers, the live ones of :meth:`overlaid` included.
    """

    manifest: ViewManifest
    base: NDArray[np.float32]
    present: NDArray[np.bool_]
    """Shape (rows at build,): which rows of ``base`` hold a vector."""
    current: NDArray[np.bool_]
    """Shape (rows at build,): those of them that no live change stands in for."""
    collection: ChromaCollection
    live_rows: NDArray[np.int64]
    live_vectors: NDArray[np.float32]
    n_rows: int
    plan: Plan = PLAN

    def __len__(self) -> int:
        return self.n_rows

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def dimension(self) -> int:
        return self.manifest.dimension

    def vector(self, row: int) -> NDArray[np.float32] | None:
        """Unit vector of an item, shape (d,), or None where it has no such view."""
        if not 0 <= row < self.n_rows:
            raise IndexError(f"row {row} of {self.n_rows}")
        live = np.flatnonzero(self.live_rows == row)
        if len(live):
            vector = self.live_vectors[live[0]]
        elif row < len(self.base):
            vector = np.array(self.base[row])
        else:
            return None
        return vector if vector.any() else None

    def nearest(
        self, vector: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The items most similar to a vector.

        Without a mask the graph answers (its recall is in ``benchmarks/results/search.md``). With one, whichever is
        faster does: an exact search of the rows that pass, or the graph, asked for more than k results, of which those
        that pass are kept; when too few do, the search is exact after all.

        Args:
            vector: shape (d,), any length but zero.
            k: how many, at least 1.
            mask: shape (len(self),): rows that may be returned; None for all.

        Returns:
            (rows, cosine similarities in [-1, 1]), both shape (at most k,), most similar first, equal ones by row.
            Fewer than k only when fewer items pass the mask and have this view.

        Raises:
            ValueError: wrong shape, a zero or non-finite vector, or k under 1.
            ToolError: the Chroma server did not answer.
        """
        query = self._unit(vector)
        if k < 1:
            raise ValueError(f"k is {k}")
        if mask is not None and mask.shape != (self.n_rows,):
            raise ValueError(f"a mask of shape {mask.shape} for {self.n_rows} rows")
        rows = self._base_nearest(query, k, None if mask is None else mask[: len(self.base)])
        found = [(rows, similarities(self.base, rows, query))]
        if len(self.live_rows):
            passing = self.live_vectors.any(axis=1)
            if mask is not None:
                passing &= mask[self.live_rows]
            picked = np.flatnonzero(passing)
            found.append((self.live_rows[picked], similarities(self.live_vectors, picked, query)))
        all_rows = np.concatenate([rows for rows, _ in found])
        values = np.concatenate([values for _, values in found])
        order = np.lexsort((all_rows, -values))[:k]
        return all_rows[order], values[order]

    def overlaid(self, rows: NDArray[np.int64], vectors: NDArray[np.float32], n_rows: int) -> ViewIndex:
        """This view with live changes: ``vectors[i]`` in place of, or in addition to, what row ``rows[i]`` had.

        Args:
            rows: shape (m,), distinct, under ``n_rows``.
            vectors: shape (m, d); a zero row takes the view away from the item.
            n_rows: rows of the catalogue with the changes applied, at least those at build.
        """
        if vectors.shape != (len(rows), self.dimension) or n_rows < len(self.base):
            raise ValueError(f"{vectors.shape} live vectors for {len(rows)} rows of {n_rows}")
        if len(np.unique(rows)) != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < n_rows):
            raise ValueError("live rows must be distinct rows of the catalogue")
        current = self.present.copy()
        current[rows[rows < len(self.base)]] = False
        return replace(
            self,
            current=current,
            live_rows=rows.astype(np.int64),
            live_vectors=unit_rows(vectors),
            n_rows=n_rows,
        )

    def close(self) -> None:
        """Let go of the files. Views made from this one by :meth:`overlaid` close with it."""
        self.collection.close()

    def _base_nearest(self, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Rows of ``base``, k at least where there are so many (more on ties), in no order."""
        total = self.manifest.count
        allowed = self.current if mask is None else self.current & mask
        passing = int(np.count_nonzero(allowed))
        if passing == total:
            fetched, ask = min(k, total), total > 0
        else:
            likely = max(math.ceil(self.plan.surplus * k * total / max(passing, 1)), self.plan.margin)
            fetched = k + min(likely, total - passing)
            ask = self.plan.graph_is_faster(fetched, passing, len(self.base), self.dimension)
        if ask:
            rows = self.collection.nearest(query, fetched)
            rows = rows[allowed[rows]][:k]
            if len(rows) == min(k, passing):
                return rows
        return exact_nearest(self.base, query, k, allowed)

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        if vector.shape != (self.dimension,):
            raise ValueError(f"a vector of shape {vector.shape} for a view of {self.dimension} dimensions")
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not 0 < length < math.inf:
            raise ValueError("a zero or non-finite vector has no neighbours")
        return np.asarray(vector / length, dtype=np.float32)


def build_view(
    folder: Path,
    name: str,
    vectors: NDArray[np.float32],
    model_id: str,
    progress: Progress | None = None,
    *,
    url: str | None = None,
    hnsw: Hnsw | None = None,
) -> ViewManifest:
    """Write a view to ``folder/name``. One that is already there, of the same vectors, is kept.

    The folder appears whole or not at all: a build that was killed leaves nothing that opens, and starts again.

    Args:
        folder: the folder of all views of a build.
        name: letters, digits and hyphens, such as ``text``.
        vectors: shape (n_items, d), in catalogue order, any length; a zero row has no such view.
        model_id: the encoder's, checked when the view is opened.
        progress: called with (done, total) items.
        url: of a Chroma server that is to hold the graph index instead of the folder.
        hnsw: settings of the graph, where not the measured ones.

    Raises:
        UserError: no server answers at the URL.
        ValueError: no rows, a value that is not finite, or a bad name.
    """
    if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():
        raise ValueError(f"vectors of shape {vectors.shape} must be finite and not empty")
    if not (name.isascii() and name.replace("-", "").isalnum()):
        raise ValueError(f"{name!r} cannot name a view")
    report = progress or (lambda done, total: None)
    hnsw = hnsw or Hnsw()
    unit = unit_rows(vectors)
    rows = np.flatnonzero(unit.any(axis=1))
    key = _key(unit, model_id, hnsw)
    manifest = ViewManifest(
        view=name,
        model_id=model_id,
        dimension=unit.shape[1],
        rows=len(unit),
        count=len(rows),
        collection=f"{name}-{key}",
        key=key,
        hnsw=asdict(hnsw),
    )
    target, making = folder / name, folder / f".{name}.making"
    if _is_there(folder, manifest, url):
        report(len(rows), len(rows))
        return manifest
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    np.save(making / "vectors.npy", unit, allow_pickle=False)
    create_collection(url or making / "chroma", manifest.collection, unit, rows, hnsw, report)
    (making / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    making.rename(target)
    return manifest


def open_view(folder: Path, name: str, expect_model_id: str | None = None, *, url: str | None = None) -> ViewIndex:
    """Open a view that :func:`build_view` wrote.

    Args:
        folder: as given to ``build_view``.
        name: as given to ``build_view``.
        expect_model_id: the encoder that will make the queries; None where it cannot be checked.
        url: of the Chroma server that holds the graph index, if one does.

    Raises:
        UserError: there is no such view, it is damaged, another encoder made it, or no server answers.
    """
    place = folder / name
    manifest = _read_manifest(place)
    if expect_model_id is not None and manifest.model_id != expect_model_id:
        option = _OPTION.get(name)
        mend = f", or pass {option} to use the other one" if option else ""
        raise UserError(
            f"the {name} view was built with another encoder: {manifest.model_id}, not {expect_model_id}. Build the "
            f"workspace again{mend}"
        )
    damaged = f"the {name} view at {place} is damaged: build the workspace again"
    try:
        base: NDArray[np.float32] = np.load(place / "vectors.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{damaged} ({error})") from error
    if base.shape != (manifest.rows, manifest.dimension) or base.dtype != np.float32:
        raise UserError(f"{damaged} (vectors.npy has shape {base.shape} and type {base.dtype})")
    whole = manifest.count == manifest.rows  # then there is no need to read all of it
    present: NDArray[np.bool_] = np.ones(len(base), dtype=np.bool_) if whole else np.any(base != 0, axis=1)
    collection = open_collection(url or place / "chroma", manifest.collection)
    if collection.count() != manifest.count or np.count_nonzero(present) != manifest.count:
        collection.close()
        raise UserError(f"{damaged} (it should hold {manifest.count} vectors)")
    return ViewIndex(
        manifest=manifest,
        base=base,
        present=present,
        current=present,
        collection=collection,
        live_rows=np.empty(0, dtype=np.int64),
        live_vectors=np.empty((0, manifest.dimension), dtype=np.float32),
        n_rows=len(base),
    )


def _read_manifest(place: Path) -> ViewManifest:
    try:
        manifest = ViewManifest.model_validate_json((place / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise UserError(f"there is no {place.name} view at {place}: build the workspace again") from None
    except ValidationError as error:
        raise UserError(
            f"{place / 'manifest.json'} is damaged ({error.errors()[0]['msg']}): build the workspace again"
        ) from None
    if manifest.version != _VERSION:
        raise UserError(f"{place} has version {manifest.version}, not {_VERSION}: build the workspace again")
    return manifest


def _is_there(folder: Path, manifest: ViewManifest, url: str | None) -> bool:
    if not (folder / manifest.view / "manifest.json").exists():
        return False
    try:
        view = open_view(folder, manifest.view, url=url)
    except UserError:  # damaged, or made with the other kind of place: it is built anew
        return False
    view.close()
    return view.manifest == manifest


def _key(unit: NDArray[np.float32], model_id: str, hnsw: Hnsw) -> str:
    digest = hashlib.blake2b(f"{_VERSION} {model_id} {unit.shape} {hnsw}".encode(), digest_size=12)
    digest.update(np.ascontiguousarray(unit).data)
    return digest.hexdigest()
