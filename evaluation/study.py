"""What is asked of policies, and of which data: from a command to the folds that :func:`.run.replay` runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.interactions import load_interactions
from ..catalog.items import Catalogue
from ..catalog.workspace import Build
from ..errors import UserError
from ..ranking.log import Log
from .folds import Fold
from .protocols.cold import cold
from .protocols.interactive import futures
from .protocols.loo import loo
from .protocols.mnar import mnar
from .protocols.temporal import temporal
from .requests import RequestKind, with_requests
from .results import DataInfo

ProtocolName = Literal["loo", "temporal", "interactive", "mnar", "cold"]
#: The protocols that make folds.
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the policies.

    Attributes:
        protocol: how the log becomes folds.
        validation: ask the event before the last, and leave the last out (leave-one-out alone).
        windows, share: of the temporal split.
        rounds: of interactive replay.
        hidden, among: share of the items that cold start hides, and what it ranks.
        train, test, relevant: rating matrices of ``mnar``, and the lowest rating that makes a target.
        users: at most so many queries of each fold, drawn at random; None: all.
        requests: what is said to policies that are asked in words; None: nothing.
        seed: of what is drawn at random: queries, hidden items.
    """

    protocol: ProtocolName = "loo"
    validation: bool = False
    windows: int = 1
    share: float = 0.8
    rounds: int = 5
    hidden: float = 0.1
    among: Literal["hidden", "all"] = "hidden"
    train: Path | None = None
    test: Path | None = None
    relevant: float = 4.0
    users: int | None = None
    requests: RequestKind | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Material:
    """What is replayed, and what policies may use besides the log.

    Attributes:
        data: what it is, for the report.
        log: all interactions; None where the folds come from files of their own.
        catalogue: the items; None where the data have nothing but ratings.
        views: name of a view to (n_items, d) float32.
        users: a row for each user of the log with what is known of each; None for nothing.
    """

    data: DataInfo
    log: Log | None = None
    catalogue: Catalogue | None = None
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    users: pl.DataFrame | None = None


def material_of(build: Build) -> Material:
    """A build as it was published: live changes to the catalogue are not in it.

    Raises:
        UserError: a file of the build is missing or damaged.
    """
    m = build.manifest
    interactions = load_interactions(build.path)
    dirt = {**m.bad_rows, **m.settled}
    return Material(
        data=DataInfo(
            name=m.source,
            kind=m.kind,
            fingerprint=m.id,
            users=m.users,
            items=m.items,
            interactions=m.interactions,
            simulated=m.simulated,
            views={name: view.model for name, view in m.views.items()},
            notes=(*(f"{count:,} {kind}" for kind, count in dirt.items()), *m.notes),
        ),
        log=Log.of(interactions),
        catalogue=_catalogue(build),
        views={name: _vectors(build, name) for name in m.views},
        users=interactions.users,
    )


def material_of_matrices(train: Path, fold: Fold) -> Material:
    """The material of ``mnar``: two files of ratings, and nothing known of users and items.

    Args:
        train: the file of ratings that users chose to give; its folder names the data.
        fold: made of it.
    """
    return Material(
        data=DataInfo(
            name=train.resolve().parent.name or train.name,
            kind="rating matrices",
            fingerprint=hashlib.sha256(train.read_bytes()).hexdigest()[:16],
            users=fold.train.n_users,
            items=fold.n_items,
            interactions=len(fold.train),
        )
    )


def folds_of(question: Question, log: Log | None, catalogue: Catalogue | None = None) -> list[Fold]:
    """The folds of a question.

    Args:
        question: what is asked.
        log: all interactions; not needed by ``mnar``.
        catalogue: the items; needed by requests that name something of them.

    Raises:
        UserError: the protocol cannot be had from this log (one timestamp for all, no user with two events), an option
            is out of range, a file is missing or damaged, or the items have nothing that requests could name.
    """
    if question.users is not None and question.users < 1:
        raise UserError(f"--users must be 1 or more, not {question.users}")
    if question.rounds < 1:
        raise UserError(f"--rounds must be 1 or more, not {question.rounds}")
    folds = _folds(question, log)
    if question.users is not None:
        folds = [fold.sample(question.users, seed=question.seed) for fold in folds]
    if question.requests is not None:
        folds = [with_requests(fold, question.requests, catalogue) for fold in folds]
    return folds


def _folds(question: Question, log: Log | None) -> list[Fold]:
    if question.protocol == "mnar":
        if question.train is None or question.test is None:
            raise UserError(
                "--protocol mnar needs --train FILE (ratings the users chose to give) and --test FILE (ratings of "
                "items drawn at random)"
            )
        return [mnar(question.train, question.test, relevant=question.relevant)]
    assert log is not None
    if len(log) == 0:
        raise UserError("the log has no interactions: there is nothing to replay")
    if question.protocol == "loo":
        return [loo(log, "validation" if question.validation else "test")]
    if question.protocol == "temporal":
        return temporal(log, windows=question.windows, share=question.share)
    if question.protocol == "interactive":
        return [futures(log)]
    return [cold(log, share=question.hidden, among=question.among, seed=question.seed)]


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Numbers of 1 or more from text such as ``5,10,20``.

    Raises:
        UserError: it is no such list, or a number is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 6)
    if len(numbers) != len(parts) or min(numbers) < 1:
        raise UserError(f"{option} {text!r} is no list of whole numbers of 1 or more: write it as 10,5,20")
    if len(set(numbers)) != len(numbers):
        raise UserError(f"{option} {text!r} has a number twice")
    return numbers


def check_names(baseline: str, policies: Sequence[str]) -> None:
    """Whether a baseline is ``best`` or one of the policies.

    Raises:
        UserError: it is not.
    """
    if baseline != "best" and baseline not in policies:
        raise UserError(f"the baseline {baseline!r} is none of the policies: {', '.join(policies)}")


def _catalogue(build: Build) -> Catalogue:
    path = build.path / "items.parquet"
    try:
        catalogue = Catalogue(pl.read_parquet(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read ({error}): build the workspace again") from None
    if len(catalogue) != build.manifest.items:
        raise UserError(f"{path} holds {len(catalogue)} items, the manifest {build.manifest.items}: build again")
    return catalogue


def _vectors(build: Build, name: str) -> NDArray[np.float32]:
    """(n_items, d): the vectors of a view, mapped into memory."""
    path = build.path / "views" / name / "vectors.npy"
    try:
        vectors: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"the {name} view at {path} cannot be read ({error}): build the workspace again") from None
    expected = (build.manifest.items, build.manifest.views[name].dimension)
    if vectors.shape != expected or vectors.dtype != np.float32:
        raise UserError(f"{path} has shape {vectors.shape}, not {expected}: build the workspace again")
    return vectors
