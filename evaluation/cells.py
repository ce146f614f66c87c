"""One cell of a replay: one policy, fitted with one seed, asked about one fold. Computed, written whole, read again.

In a replay's folder ``cells/``::

    <key>.parquet   a row for each query: user, the list, which of it are hits, and the rounds where they were played
    <key>.json      how it went; written last, holds the SHA-256 of the other. A failed cell has this one alone

The key is made of everything that decides the figures, so that a cell that is there may be used again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from ..catalog.text import one_line
from ..errors import UserError
from .folds import NOTHING, Fold, hits, unfit
from .memory import peak_mb, reset_peak
from .policies import Lister, Policy, PolicyInputs
from .protocols.interactive import play
from .requests import requests_fingerprint, wanted_rows
from .reranking import ranked

_VERSION = 1
#: Bytes that scores and masks of one batch may take. A batch also has at most `MOST_QUERIES` queries.
BATCH_BYTES, MOST_QUERIES = 128_000_000, 1024
#: What is held for each score of a batch: the score itself, masks, a copy to partition, and as much again in the model.
_BYTES_A_SCORE = 24
#: Libraries whose version may move a figure.
_LIBRARIES = ("numpy", "scipy", "torch", "implicit")


class CellRecord(BaseModel):
    """How a cell went."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = _VERSION
    key: str
    fold: str
    policy: str
    seed: int
    k: int = Field(description="items of a list")
    rounds: int = Field(description="rounds of interactive replay; 0 for none")
    status: Literal["done", "failed"]
    error: str | None = Field(default=None, description="of a failed cell, in one line")
    detail: str | None = Field(default=None, description="of a failed cell: where it was raised")
    queries: int
    unfit: int = Field(default=0, description="queries with a score that is not finite; each counts as a miss")
    unfit_users: tuple[int, ...] = Field(default=(), description="the first of them, by the users' indices")
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    rank_seconds: float = 0.0
    play_seconds: float = 0.0
    peak_mb: float | None = Field(default=None, description="peak resident memory, the data's included")
    figures: dict[str, float] = Field(default={}, description="what the model tells of itself, such as tokens used")
    sha256: str | None = Field(default=None, description="of the Parquet file")


@dataclass(frozen=True, eq=False)
class Lists:
    """What a policy answered on a fold.

    Attributes:
        users: (q,) int64, the user of each query.
        items: (q, k) int64 rows, best first; -1 where there is none.
        hits: (q, k) bool.
        unfit: (q,) bool, queries with a score that is not finite.
        accepted, shown: (q, rounds) int64, see :class:`.protocols.interactive.Play`.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    hits: NDArray[np.bool_]
    unfit: NDArray[np.bool_]
    accepted: NDArray[np.int64]
    shown: NDArray[np.int64]


def cell_key(fold: Fold, policy: Policy, seed: int, *, k: int, rounds: int, content: str) -> str:
    """Names a cell: same data, protocol, policy, seed, settings and code, same key.

    Args:
        content: fingerprint of the catalogue and the views (see :func:`content_fingerprint`).
    """
    parts = {
        "cell": _VERSION,
        "code": _code_fingerprint(),
        "content": content,
        "fold": fold.fingerprint,
        "policy": [policy.name, policy.config],
        "requests": requests_fingerprint(fold.requests) if policy.hears else None,
        "seed": seed,
        "settings": [k, rounds],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def work_key(fold: Fold, policy: Policy, seed: int, *, k: int, content: str) -> str:
    """Names what a policy keeps on the way: as :func:`cell_key`, whoever is asked about and whatever is said."""
    parts = {
        "work": _VERSION,
        "code": _code_fingerprint(),
        "content": content,
        "train": fold.train_fingerprint,
        "policy": [policy.name, policy.config],
        "seed": seed,
        "k": k,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@cache
def _code_fingerprint() -> str:
    """Of the modules whose code decides a figure, and of the libraries they stand on."""
    package = Path(__file__).parent.parent
    files = [*(package / "ranking").rglob("*.py"), *(package / "evaluation" / "protocols").rglob("*.py")]
    names = ("cells.py", "folds.py", "outside.py", "policies.py", "requests.py", "reranking.py")
    files += [package / "evaluation" / name for name in names]
    found = hashlib.sha256(repr((__version__, [version_of(name) for name in _LIBRARIES])).encode())
    for path in sorted(files):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def version_of(library: str) -> str | None:
    """The version of a library; None where it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def content_fingerprint(inputs: PolicyInputs) -> str:
    """Of what policies may use besides the log: the catalogue and the views."""
    from .folds import digest

    found = hashlib.sha256()
    if inputs.catalogue is not None:
        found.update(inputs.catalogue.frame.write_ipc(None).getbuffer())
    for name, vectors in sorted(inputs.views.items()):
        found.update(name.encode() + b"\0" + digest(vectors))
    return found.hexdigest()


def run_cell(
    fold: Fold, policy: Policy, inputs: PolicyInputs, folder: Path, *, key: str, k: int, rounds: int
) -> CellRecord:
    """Fit, ask, rank, and write the cell. A policy that raises makes a failed cell and no more.

    Args:
        fold: the train log and the queries.
        policy: what to fit.
        inputs: of this fold and seed.
        folder: where cells lie; must be there.
        key: see :func:`cell_key`.
        k: items of a list.
        rounds: of interactive replay; 0 for none.

    Raises:
        UserError: the cell cannot be written.
    """
    reset_peak()
    base = CellRecord(
        key=key, fold=fold.name, policy=policy.name, seed=inputs.seed, k=k, rounds=rounds, status="done",
        queries=len(fold),
    )  # fmt: skip
    try:
        found, seconds, figures = _compute(fold, policy, inputs, k, rounds)
    except Exception as error:  # a policy is outside code: what it raises fails its own cell, and is shown
        failed = base.model_copy(
            update={
                "status": "failed",
                "error": said(error),
                "detail": "".join(traceback.format_exception(error)[-6:])[-4000:],
                "peak_mb": peak_mb(),
            }
        )
        _write(folder / f"{key}.json", failed.model_dump_json(indent=1).encode())
        return failed
    _write_lists(found, folder / f"{key}.parquet")
    done = base.model_copy(
        update={
            **{f"{name}_seconds": round(value, 4) for name, value in seconds.items()},
            "unfit": int(found.unfit.sum()),
            "unfit_users": tuple(found.users[found.unfit][:5].tolist()),
            "peak_mb": peak_mb(),
            "figures": figures,
            "sha256": _sha256(folder / f"{key}.parquet"),
        }
    )
    _write(folder / f"{key}.json", done.model_dump_json(indent=1).encode())
    return done


def said(error: BaseException) -> str:
    """An error in one line."""
    text = one_line(str(error), 300)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}" if text else type(error).__name__


def whole_cell(folder: Path, key: str) -> CellRecord | None:
    """The record of a cell that was finished and is undamaged; None where there is no such cell."""
    try:
        record = CellRecord.model_validate_json((folder / f"{key}.json").read_bytes())
        whole = record.status == "done" and record.key == key and record.sha256 == _sha256(folder / f"{key}.parquet")
    except (FileNotFoundError, ValidationError):
        return None
    return record if whole else None


def read_lists(folder: Path, record: CellRecord) -> Lists:
    """What a finished cell holds.

    Raises:
        UserError: its file is missing or damaged.
    """
    path = folder / f"{record.key}.parquet"
    try:
        if _sha256(path) != record.sha256:
            raise UserError(f"{path} is damaged (its SHA-256 is not the one noted): run again with --resume")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run again with --resume") from None
    frame = pl.read_parquet(path)

    def table(name: str, width: int) -> NDArray[np.int64]:
        return (
            frame[name].explode().to_numpy().reshape(frame.height, width)
            if width and frame.height
            else np.empty((frame.height, width), dtype=np.int64)
        )

    return Lists(
        users=frame["user"].to_numpy().astype(np.int64),
        items=table("items", record.k).astype(np.int64),
        hits=table("hits", record.k).astype(np.bool_),
        unfit=frame["unfit"].to_numpy().astype(np.bool_),
        accepted=table("accepted", record.rounds).astype(np.int64),
        shown=table("shown", record.rounds).astype(np.int64),
    )


def batch_size(n_items: int) -> int:
    """Queries scored at a time, by the items of the catalogue alone: it must not depend on the machine."""
    return max(1, min(MOST_QUERIES, BATCH_BYTES // (_BYTES_A_SCORE * max(n_items, 1))))


def _compute(
    fold: Fold, policy: Policy, inputs: PolicyInputs, k: int, rounds: int
) -> tuple[Lists, Mapping[str, float], Mapping[str, float]]:
    """The lists, the seconds each step took, and what the model tells of itself."""
    progress = inputs.progress
    started = time.perf_counter()
    model = policy.fit(inputs)
    seconds = {"fit": time.perf_counter() - started, "score": 0.0, "rank": 0.0, "play": 0.0}
    queries, batch = len(fold), batch_size(fold.n_items)
    if isinstance(model, Lister):
        if rounds:
            raise UserError(f"the policy {policy.name!r} makes lists of its own: it cannot be played in rounds")
        began = time.perf_counter()
        items = model.lists(fold, k)
        seconds["score"] = time.perf_counter() - began
        _check_lists(items, fold, k)
        figures = {name: float(value) for name, value in getattr(model, "figures", {}).items()}
        none = np.zeros((queries, 0), dtype=np.int64)
        return Lists(fold.users, items, hits(items, fold), np.zeros(queries, np.bool_), none, none), seconds, figures
    items = np.empty((queries, k), dtype=np.int64)
    bad = np.zeros(queries, dtype=np.bool_)
    for start in range(0, queries, batch):
        stop = min(start + batch, queries)
        began = time.perf_counter()
        pasts = fold.pasts.part(start, stop)
        scores = model.score_many(pasts)
        scored = time.perf_counter()
        if scores.shape != (stop - start, fold.n_items):
            raise ValueError(f"scores of shape {scores.shape}, not {(stop - start, fold.n_items)}")
        allowed = fold.rankable(start, stop)
        bad[start:stop] = unfit(scores, allowed)
        if policy.filtered:
            wanted = _wanted(fold, inputs, start, stop)
            parts = [ranked(model, scores, pasts, allowed & part, k, fold.order) for part in (wanted, ~wanted)]
            items[start:stop] = _joined(parts, bad[start:stop], k)
        else:
            items[start:stop] = ranked(model, scores, pasts, allowed, k, fold.order)
        seconds["score"] += scored - began
        seconds["rank"] += time.perf_counter() - scored
        progress(f"asking {policy.name}", stop, queries)
    accepted = shown = np.zeros((queries, 0), dtype=np.int64)
    if rounds:
        began = time.perf_counter()
        played = play(
            fold, model, k=k, rounds=rounds, batch=batch,
            told=lambda done: progress(f"playing {policy.name}", done, queries),
        )  # fmt: skip
        accepted, shown = played.accepted, played.shown
        bad |= played.failed
        seconds["play"] = time.perf_counter() - began
    figures = {name: float(value) for name, value in getattr(model, "figures", {}).items()}
    return Lists(fold.users, items, hits(items, fold), bad, accepted, shown), seconds, figures


def _wanted(fold: Fold, inputs: PolicyInputs, start: int, stop: int) -> NDArray[np.bool_]:
    """(stop - start, n_items): what meets the request of each of the queries."""
    if fold.requests is None or inputs.catalogue is None:
        raise UserError("a filtered policy needs requests to be told of, and a catalogue: give --requests genre-decade")
    return wanted_rows(fold.requests[start:stop], inputs.catalogue)


def _joined(parts: Sequence[NDArray[np.int64]], bad: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """(b, k): the first of the lists, (b, k) each, then the next; nothing for the ``bad`` queries (b,)."""
    joined = np.concatenate(parts, axis=1)
    joined[bad] = NOTHING
    listed_first = np.argsort(joined == NOTHING, axis=1, kind="stable")[:, :k]
    lists: NDArray[np.int64] = np.take_along_axis(joined, listed_first, axis=1)
    return lists


def _check_lists(items: NDArray[np.int64], fold: Fold, k: int) -> None:
    if items.shape != (len(fold), k):
        raise ValueError(f"lists of shape {items.shape}, not {(len(fold), k)}")
    for at, row in enumerate(items):
        length = int((row != NOTHING).sum())
        listed = row[:length]
        if (listed == NOTHING).any() or len(np.unique(listed)) != length:
            raise ValueError(f"the list of user {fold.users[at]} has gaps or an item twice")
        if not fold.rankable(at, at + 1)[0, listed].all():
            raise ValueError(f"the list of user {fold.users[at]} has an item that may not be ranked")


def _write_lists(found: Lists, path: Path) -> None:
    def lists(values: NDArray[np.generic], kind: type[pl.DataType]) -> pl.Series:
        if values.size == 0:
            return pl.Series([[]] * len(values), dtype=pl.List(kind))
        return pl.Series(values).cast(pl.List(kind))

    frame = pl.DataFrame(
        {
            "user": found.users,
            "unfit": found.unfit,
            "items": lists(found.items, pl.Int32),
            "hits": lists(found.hits, pl.Boolean),
            "accepted": lists(found.accepted, pl.Int32),
            "shown": lists(found.shown, pl.Int32),
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path} cannot be written ({error.strerror}): free some space, then run the same with --resume"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
