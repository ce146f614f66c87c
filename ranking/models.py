"""Fitting the behaviour models, and keeping them on disk.

In a build's ``models/``: ``ease.safetensors``, ``popularity.safetensors`` and ``ranking.json``, written last,
which says how they were made and holds the SHA-256 of each.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from .blend import BlendConfig, BlendRanker
from .content import ContentRanker
from .ease import DENSE_LIMIT, EaseModel, EaseRanker, fit_ease
from .popularity import PopularityRanker, item_counts

METADATA = "ranking.json"
_EASE, _POPULARITY = "ease.safetensors", "popularity.safetensors"
_VERSION = 1
_MEND = "build the workspace again"


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How the models are fitted."""

    regularization: float = 400.0
    """EASE's lambda."""

    dense_limit: int = DENSE_LIMIT
    """Items with interactions above which EASE takes its truncated form."""

    rank: int = 1024
    """Singular vectors of the truncated form."""

    seed: int = 0
    """Of the truncated form's starting subspace."""


class EaseInfo(BaseModel):
    """How EASE was fitted."""

    model_config = ConfigDict(frozen=True)
    form: Literal["dense", "truncated"]
    rank: int | None = Field(description="singular vectors kept; null when dense")
    regularization: float
    trained_items: int = Field(description="items with interactions")
    seconds: float


class Metadata(BaseModel):
    """What ``ranking.json`` holds."""

    model_config = ConfigDict(frozen=True)
    version: int = _VERSION
    n_users: int
    n_items: int
    interactions: int
    ease: EaseInfo
    blend: BlendConfig
    sha256: dict[str, str] = Field(description="of each model file, by name")


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


def fit(
    matrix: sp.csr_matrix,
    out_dir: Path,
    *,
    config: FitConfig | None = None,
    blend: BlendConfig | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Fit every model on a log and write it to ``out_dir``.

    Args:
        matrix: (n_users, n_items); every stored non-zero is an interaction.
        out_dir: made if it is not there.
        config: how to fit.
        blend: weights to be stored with the models; the defaults when None.

    Returns:
        The metadata, as written.
    """
    # Imported here: the package must import where only the catalogue is read.
    from safetensors.numpy import save_file

    config = config or FitConfig()
    out_dir.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    ease = fit_ease(
        matrix,
        regularization=config.regularization,
        dense_limit=config.dense_limit,
        rank=config.rank,
        seed=config.seed,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    progress("writing models", 0)
    save_file({"items": ease.items, "weights": ease.weights, "own": ease.own}, out_dir / _EASE)
    save_file({"counts": item_counts(matrix)}, out_dir / _POPULARITY)
    metadata = Metadata(
        n_users=matrix.shape[0],
        n_items=matrix.shape[1],
        interactions=int(matrix.count_nonzero()),
        ease=EaseInfo(
            form=ease.form,
            rank=ease.rank,
            regularization=config.regularization,
            trained_items=len(ease.items),
            seconds=round(seconds, 2),
        ),
        blend=blend or BlendConfig(),
        sha256={name: _sha256(out_dir / name) for name in (_EASE, _POPULARITY)},
    )
    (out_dir / METADATA).write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return metadata.model_dump()


@dataclass(frozen=True, eq=False)
class Models:
    """The fitted models of a build in memory: read once, made into a ranker for each state of the live catalogue."""

    metadata: Metadata
    ease: EaseModel
    counts: NDArray[np.float32]

    def ranker(
        self,
        *,
        n_items: int | None = None,
        views: Mapping[str, ItemView] | None = None,
        config: BlendConfig | None = None,
    ) -> BlendRanker:
        """The blended ranker, sharing these arrays.

        Args:
            n_items: items of the live catalogue; by default those of the build.
            views: content views by name (``text``, ``image``); those missing add nothing.
            config: weights to use in place of the stored ones.

        Raises:
            UserError: the live catalogue has fewer items than the build.
        """
        weighing = config or self.metadata.blend
        total = self.metadata.n_items if n_items is None else n_items
        if total < self.metadata.n_items:
            raise UserError(f"the models are of {self.metadata.n_items} items, the catalogue has {total}: {_MEND}")
        return BlendRanker(
            popularity=PopularityRanker(self.counts, total),
            behaviour=EaseRanker(self.ease, total, tau=weighing.behaviour_tau),
            content=[
                ContentRanker(
                    name,
                    view.vectors,
                    total,
                    live_rows=view.live_rows,
                    live_vectors=view.live_vectors,
                    tau=weighing.content_tau,
                )
                for name, view in sorted((views or {}).items())
            ],
            config=weighing,
        )


def read_models(models_dir: Path) -> Models:
    """Read what :func:`fit` wrote.

    Raises:
        UserError: a model file is missing, damaged, from a newer version, or does not fit the others.
    """
    metadata = read_metadata(models_dir)
    ease = _tensors(models_dir, _EASE, metadata)
    counts = _tensors(models_dir, _POPULARITY, metadata)["counts"]
    if len(counts) != metadata.n_items or len(ease["items"]) != metadata.ease.trained_items:
        raise UserError(f"{models_dir / METADATA} does not fit the models beside it: {_MEND}")
    model = EaseModel(
        form=metadata.ease.form,
        n_items=metadata.n_items,
        items=ease["items"],
        weights=ease["weights"],
        own=ease["own"],
        regularization=metadata.ease.regularization,
    )
    return Models(metadata=metadata, ease=model, counts=counts)


def load(
    models_dir: Path,
    *,
    n_items: int | None = None,
    views: Mapping[str, ItemView] | None = None,
    config: BlendConfig | None = None,
) -> BlendRanker:
    """:func:`read_models` and :meth:`Models.ranker` in one."""
    return read_models(models_dir).ranker(n_items=n_items, views=views, config=config)


def read_metadata(models_dir: Path) -> Metadata:
    """How the models of a build were made.

    Raises:
        UserError: the file is missing, damaged or from a newer version.
    """
    path = models_dir / METADATA
    try:
        metadata = Metadata.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {_MEND}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is damaged at {where} ({first['msg']}): {_MEND}") from None
    if metadata.version > _VERSION:
        raise UserError(f"{path} has version {metadata.version}, this llm4rec reads up to {_VERSION}: update llm4rec")
    return metadata


def _tensors(models_dir: Path, name: str, metadata: Metadata) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    path = models_dir / name
    try:
        # The hash vouches for names, shapes and values: they are as fit() wrote them.
        if _sha256(path) != metadata.sha256.get(name):
            raise UserError(f"{path} is damaged or of another build (its SHA-256 is not the one noted): {_MEND}")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {_MEND}") from None
    tensors: dict[str, NDArray[Any]] = load_file(path)
    return tensors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
