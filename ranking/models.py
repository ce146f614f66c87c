"""Fitting the ranker of a build, and keeping it on disk.

In a build's ``models/``: a safetensors file for each part that is fitted (``popularity``, ``ease``, ``transitions``,
``graph``, ``sequence``, ``posterior``; content views are the build's own) and ``ranking.json``, written last, which
holds the learned weights, says how all was made, and has the SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..catalog.items import Catalogue
from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from .content import ContentRanker
from .diversity import Vectors, common_of, diversity_items, mean_row
from .ease import EaseModel, EaseRanker
from .fused import FusedConfig, FusedModel, Weights, fit_fused
from .fused_ranker import FusedRanker, PartRanker, RankerConfig
from .graph import GraphModel
from .graph_ranker import GraphRanker, load_graph, save_graph
from .log import Log
from .outcome import OutcomeSlope
from .popularity import PopularityRanker
from .posterior_ranker import PosteriorRanker
from .sequence_ranker import SequenceRanker, read_sequence
from .space import load_space
from .transitions import TransitionsModel, TransitionsRanker, load_transitions

METADATA = "ranking.json"
_COUNTS = "popularity"
#: Parts that are the build's views, and those that have a file of their own.
VIEWS = ("text", "image")
FITTED = (_COUNTS, "transitions", "ease", "graph", "sequence", "posterior")
_VERSION = 3
_MEND = "build the workspace again"


class WeightsInfo(BaseModel):
    """The learned weights; see :class:`.fused.Weights`."""

    model_config = ConfigDict(frozen=True)
    plain: tuple[float, ...]
    by_user: tuple[float, ...]
    by_item: tuple[tuple[float, ...], tuple[float, ...]]
    items: tuple[float, float]
    user_scale: tuple[float, float]
    item_scale: tuple[float, float]


class OutcomeInfo(BaseModel):
    """What a unit of the score is worth in ratings; see :mod:`.outcome`."""

    model_config = ConfigDict(frozen=True)
    value: float
    interval: tuple[float, float] = Field(description="95 %")
    n: int = Field(description="held-out events")
    n_users: int


class EaseInfo(BaseModel):
    """How EASE was fitted."""

    model_config = ConfigDict(frozen=True)
    form: Literal["dense", "truncated"]
    regularization: float
    tau: float
    trained_items: int = Field(description="items with interactions")


class Metadata(BaseModel):
    """What ``ranking.json`` holds."""

    model_config = ConfigDict(frozen=True)
    version: int = _VERSION
    n_users: int
    n_items: int
    interactions: int
    parts: tuple[str, ...] = Field(description="of the ranker, in the order of the weights")
    left_out: dict[str, str] = Field(description="parts that are not there, and why")
    learned_on: int = Field(description="events the weights were learned on; 0: they are fixed")
    weights: WeightsInfo
    outcome_slope: OutcomeInfo | None = Field(
        default=None, description="null where the log has no ratings, or too few held-out ones"
    )
    epochs: int | None = Field(default=None, description="of the transformer's last training")
    ease: EaseInfo | None = None
    seed: int
    seconds: float
    ranker: RankerConfig
    sha256: dict[str, str] = Field(description="of each model file, by name")

    def notes(self) -> tuple[str, ...]:
        """What a person must know of the ranker, a line each."""
        left = tuple(f"the ranker has no {name} part: {why}" for name, why in self.left_out.items())
        if self.learned_on:
            return left
        return (*left, "the ranker's weights are fixed ones: the log is too small to learn them from")


@dataclass(frozen=True, eq=False)
class ItemView:
    """A content view as the ranker needs it.

    Attributes:
        vectors: (n_base, d) float32, unit rows or zero rows; may be memory-mapped.
        live_rows: (l,) rows whose vectors came after the build.
        live_vectors: (l, d) float32, theirs.
    """

    vectors: NDArray[np.float32]
    live_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    live_vectors: NDArray[np.float32] | None = None

    def over(self, n_items: int) -> Vectors:
        """The rows of the live catalogue, read where they are."""
        return self.vectors if n_items == len(self.vectors) and not len(self.live_rows) else _Overlaid(self, n_items)


class _Overlaid:
    """The rows of a view with those that came after the build: gathered when asked for, never copied whole."""

    def __init__(self, view: ItemView, n_items: int) -> None:
        self.shape: tuple[int, ...] = (n_items, view.vectors.shape[1])
        self._view = view
        self._live = np.full(n_items, -1, dtype=np.int64)
        self._live[view.live_rows] = np.arange(len(view.live_rows))

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        found = np.zeros((*rows.shape, self.shape[1]), dtype=np.float32)
        live = self._live[rows]
        built = (live < 0) & (rows < len(self._view.vectors))
        found[built] = self._view.vectors[rows[built]]
        if self._view.live_vectors is not None:
            found[live >= 0] = self._view.live_vectors[live[live >= 0]]
        return found


@dataclass(frozen=True, eq=False)
class Variety:
    """What makes lists varied; see :mod:`.diversity`.

    Attributes:
        common: (n_items,) float32, how likely each item is for anybody.
        means: (d,) float32 by view, its mean row.
    """

    common: NDArray[np.float32]
    means: Mapping[str, NDArray[np.float32]]


def fit(
    log: Log,
    out_dir: Path,
    *,
    catalogue: Catalogue | None = None,
    views: Mapping[str, NDArray[np.float32]] | None = None,
    config: FusedConfig | None = None,
    without: Sequence[str] = (),
    seed: int = 0,
    kept: Path | None = None,
    ranker: RankerConfig | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Fit the fused model on a log and write it to ``out_dir``.

    Args:
        log: all that may be learned from.
        out_dir: made if it is not there.
        catalogue, views: of the log's items; (n_items, d) float32 by name.
        config: what is fused.
        without: parts to leave out, whatever the config says.
        seed: of everything random.
        kept: folder of transformers trained before, for a fit that was stopped and begins again.
        ranker: what is laid over the model; stored beside it.
        progress: told of the steps.

    Returns:
        The metadata, as written.

    Raises:
        UserError: no part is left.
        ValueError: the config has a part that cannot be kept.
    """
    # Imported here: the package must import where only the catalogue is read.
    from safetensors.numpy import save_file

    config = config or FusedConfig()
    if strange := [name for name in config.parts if name not in (*FITTED, *VIEWS)]:
        raise ValueError(f"the part {strange[0]!r} cannot be kept: {', '.join((*FITTED, *VIEWS))} can")
    asked = tuple(name for name in config.parts if name not in without)
    if not asked:
        raise UserError("no part of the ranker is left: keep one, popularity at least")
    started = time.perf_counter()
    model = fit_fused(log, catalogue, views, replace(config, parts=asked), seed=seed, kept=kept, progress=progress)
    progress("writing models", 0)
    out_dir.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[Any]] = {"counts": model.counts.astype(np.int64), "common": common_of(model, log)}
    tensors |= {f"mean.{name}": mean_row(view) for name, view in (views or {}).items() if name in VIEWS}
    save_file(tensors, out_dir / f"{_COUNTS}.safetensors")
    for name, part in model.models.items():
        if name in _FILES:
            _FILES[name](part, out_dir / f"{name}.safetensors")
    left_out = {**dict.fromkeys(without, "it was left out of this build"), **model.left_out}
    metadata = _metadata(log, model, left_out, seed, ranker or RankerConfig(), time.perf_counter() - started)
    files = sorted(out_dir.glob("*.safetensors"))
    metadata = metadata.model_copy(update={"sha256": {path.name: sha256_of(path) for path in files}})
    (out_dir / METADATA).write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return metadata.model_dump()


@dataclass(frozen=True, eq=False)
class Models:
    """The fitted parts of a build in memory: read once, made into a ranker for each state of the live catalogue.

    Attributes:
        weights: as learned.
        counts: (n_items,) interactions of each item.
        parts: what was fitted, by name; content views are not among them.
        variety: for varied lists.
    """

    metadata: Metadata
    weights: Weights
    counts: NDArray[np.int64]
    parts: Mapping[str, Callable[[int], PartRanker]]
    variety: Variety

    def ranker(
        self,
        *,
        n_items: int | None = None,
        views: Mapping[str, ItemView] | None = None,
        labels: sp.csr_matrix | None = None,
        config: RankerConfig | None = None,
    ) -> FusedRanker:
        """The ranker, sharing these arrays.

        Args:
            n_items: items of the live catalogue; by default those of the build.
            views: content views by name (``text``, ``image``).
            labels: (n_items, l) of the live items, for lists calibrated to the user's.
            config: what is laid over the model, in place of what is stored.

        Raises:
            UserError: the live catalogue has fewer items than the build, or a view that has a weight is not there.
        """
        total = self.metadata.n_items if n_items is None else n_items
        if total < self.metadata.n_items:
            raise UserError(f"the models are of {self.metadata.n_items} items, the catalogue has {total}: {_MEND}")
        content = {
            name: ContentRanker(name, view.vectors, total, live_rows=view.live_rows, live_vectors=view.live_vectors)
            for name, view in (views or {}).items()
        }
        parts: dict[str, PartRanker] = {}
        for name in self.weights.parts:
            if name in VIEWS and name not in content:
                raise UserError(f"the ranker needs the {name} view, which is not there: {_MEND}")
            parts[name] = content[name] if name in VIEWS else self.parts[name](total)
        varied = {name: view for name, view in (views or {}).items() if name in self.variety.means}
        items = diversity_items(
            total,
            [view.over(total) for view in varied.values()],
            self.variety.common,
            labels,
            means=[self.variety.means[name] for name in varied],
        )
        return FusedRanker(
            parts, self.weights, self.counts, total, views=content, items=items, config=config or self.metadata.ranker
        )


def read_models(models_dir: Path, *, ids: Sequence[str] | None = None) -> Models:
    """Read what :func:`fit` wrote.

    Args:
        models_dir: of a build.
        ids: of the catalogue's items, which the graph's paths are told with.

    Raises:
        UserError: a model file is missing, damaged, from another version, or does not fit the others.
    """
    while True:
        metadata = read_metadata(models_dir)
        try:
            return _read(models_dir, metadata, ids)
        except UserError:
            if read_metadata(models_dir) == metadata:
                raise  # else a file was just written anew, under another name


def _read(models_dir: Path, metadata: Metadata, ids: Sequence[str] | None) -> Models:
    tensors = _tensors(models_dir, _COUNTS, metadata)
    counts, common = tensors["counts"], tensors["common"]
    found: dict[str, Callable[[int], PartRanker]] = {}
    sizes = {len(counts)}
    for name in metadata.parts:
        if name in VIEWS:
            continue
        size, found[name] = _read_part(models_dir, name, metadata, counts, ids)
        sizes.add(size)
    w, p = metadata.weights, len(metadata.parts)
    widths = {len(w.plain), len(w.by_user), *(len(row) for row in w.by_item)}
    if sizes != {metadata.n_items} or widths != {p}:
        raise UserError(f"{models_dir / METADATA} does not fit the models beside it: {_MEND}")
    weights = Weights(
        parts=metadata.parts,
        plain=np.array(w.plain),
        by_user=np.array(w.by_user),
        by_item=np.array(w.by_item).reshape(2, p),
        items=np.array(w.items),
        user_scale=w.user_scale,
        item_scale=w.item_scale,
        queries=metadata.learned_on,
        outcome=None if metadata.outcome_slope is None else OutcomeSlope(**metadata.outcome_slope.model_dump()),
    )
    variety = Variety(common, {name: tensors[f"mean.{name}"] for name in VIEWS if f"mean.{name}" in tensors})
    return Models(metadata, weights, counts, found, variety)


def load(
    models_dir: Path,
    *,
    n_items: int | None = None,
    views: Mapping[str, ItemView] | None = None,
    config: RankerConfig | None = None,
    ids: Sequence[str] | None = None,
) -> FusedRanker:
    """:func:`read_models` and :meth:`Models.ranker` in one."""
    return read_models(models_dir, ids=ids).ranker(n_items=n_items, views=views, config=config)


def read_metadata(models_dir: Path) -> Metadata:
    """How the models of a build were made.

    Raises:
        UserError: the file is missing, damaged or from another version.
    """
    path = models_dir / METADATA
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {_MEND}") from None
    try:
        version = _Version.model_validate_json(content).version
        if version > _VERSION:
            raise UserError(f"{path} has version {version}, this llm4rec reads version {_VERSION}: update llm4rec")
        if version < _VERSION:
            raise UserError(f"{path} has version {version}, of an older llm4rec: {_MEND}")
        return Metadata.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is damaged at {where} ({first['msg']}): {_MEND}") from None


class _Version(BaseModel):
    version: int


def part_file(models_dir: Path, name: str, noted: Iterable[str]) -> Path:
    """The file of a part among those that the metadata name: one that was written anew has a number behind its name."""
    named = (file for file in noted if re.fullmatch(rf"{name}(-\d+)?\.safetensors", file))
    return models_dir / next(named, f"{name}.safetensors")


def _metadata(
    log: Log, model: FusedModel, left_out: dict[str, str], seed: int, ranker: RankerConfig, seconds: float
) -> Metadata:
    weights = model.weights
    ease, sequence = model.models.get("ease"), model.models.get("sequence")
    return Metadata(
        n_users=log.n_users,
        n_items=log.n_items,
        interactions=len(log),
        parts=weights.parts,
        left_out=left_out,
        learned_on=weights.queries,
        weights=WeightsInfo(
            plain=tuple(weights.plain.tolist()),
            by_user=tuple(weights.by_user.tolist()),
            by_item=(tuple(weights.by_item[0].tolist()), tuple(weights.by_item[1].tolist())),
            items=(float(weights.items[0]), float(weights.items[1])),
            user_scale=weights.user_scale,
            item_scale=weights.item_scale,
        ),
        outcome_slope=None if weights.outcome is None else OutcomeInfo(**asdict(weights.outcome)),
        epochs=None if sequence is None else sequence.config.epochs,  # type: ignore[attr-defined]
        ease=_ease_info(ease) if isinstance(ease, EaseModel) else None,
        seed=seed,
        seconds=round(seconds, 2),
        ranker=ranker,
        sha256={},
    )


def _ease_info(model: EaseModel) -> EaseInfo:
    return EaseInfo(form=model.form, regularization=model.regularization, tau=model.tau, trained_items=len(model.items))


# What each part is on disk.


def _save_ease(model: Any, path: Path) -> None:
    from safetensors.numpy import save_file

    tensors = {"items": model.items, "weights": np.ascontiguousarray(model.weights), "own": model.own}
    save_file(tensors, path)


def _save(model: Any, path: Path) -> None:
    model.save(path)


def _save_posterior(model: Any, path: Path) -> None:
    model.space.save(path)


#: How each part is written that is more than the counts, which there are always.
_FILES: Mapping[str, Callable[[Any, Path], None]] = {
    "ease": _save_ease,
    "transitions": _save,
    "graph": save_graph,
    "sequence": _save,
    "posterior": _save_posterior,
}


def _read_part(
    models_dir: Path, name: str, metadata: Metadata, counts: NDArray[np.int64], ids: Sequence[str] | None
) -> tuple[int, Callable[[int], PartRanker]]:
    """How many items a part was fitted on, and what makes its ranker for so many live ones."""
    path = part_file(models_dir, name, metadata.sha256)
    match name:
        case "popularity":
            return len(counts), lambda total: PopularityRanker(counts.astype(np.float32), total)
        case "ease":
            tensors, info = _tensors(models_dir, name, metadata), metadata.ease
            if info is None or len(tensors["items"]) != info.trained_items:
                raise UserError(f"{models_dir / METADATA} does not fit the models beside it: {_MEND}")
            ease = EaseModel(
                form=info.form,
                n_items=metadata.n_items,
                items=tensors["items"],
                weights=tensors["weights"],
                own=tensors["own"],
                regularization=info.regularization,
                tau=info.tau,
            )
            return ease.n_items, lambda total: EaseRanker(ease, total, tau=ease.tau)
        case "transitions":
            _check(models_dir, name, metadata)
            transitions: TransitionsModel = load_transitions(path)
            return transitions.n_items, lambda total: TransitionsRanker(transitions, total)
        case "graph":
            _check(models_dir, name, metadata)
            graph: GraphModel = load_graph(path, ids)
            return graph.n_items, lambda total: GraphRanker(graph, total)
        case "sequence":
            _check(models_dir, name, metadata)
            config, size, items, weights = read_sequence(path)
            return size, lambda total: SequenceRanker(config, items, weights, total)
        case "posterior":
            _check(models_dir, name, metadata)
            space = load_space(path)
            return space.n_items, lambda total: PosteriorRanker(space, total, popular=False)
    raise UserError(f"{models_dir / METADATA} names the part {name!r}, which there is not: {_MEND}")


def _check(models_dir: Path, name: str, metadata: Metadata) -> Path:
    """The file of a part, as it was written: the hash vouches for names, shapes and values."""
    path = part_file(models_dir, name, metadata.sha256)
    try:
        if sha256_of(path) != metadata.sha256.get(path.name):
            raise UserError(f"{path} is damaged or of another build (its SHA-256 is not the one noted): {_MEND}")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {_MEND}") from None
    return path


def _tensors(models_dir: Path, name: str, metadata: Metadata) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    tensors: dict[str, NDArray[Any]] = load_file(_check(models_dir, name, metadata))
    return tensors


def sha256_of(path: Path) -> str:
    """Of a file's content, as :class:`Metadata` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
