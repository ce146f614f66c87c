"""The result of a replay as one document: everything a report needs, schema ``llm4rec.replay/1``."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from ..threads import cores
from .intervals import Interval

M = TypeVar("M", bound=BaseModel)

#: Name of the document in a replay's folder.
RESULT = "replay.json"
#: Libraries whose versions are noted.
_LIBRARIES = ("numpy", "scipy", "polars", "torch", "implicit")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Part):
    """A figure with its 95 % interval; null where there is nothing to say."""

    mean: float | None
    low: float | None
    high: float | None
    n: int = Field(description="values the figure is made of")
    dropped: int = Field(default=0, description="values that could not be measured and took no part")

    @classmethod
    def of(cls, found: Interval) -> Estimate:
        return cls(
            mean=number(found.mean), low=number(found.low), high=number(found.high), n=found.n, dropped=found.dropped
        )


class Machine(_Part):
    """Where it ran."""

    system: str
    processor: str
    cores: int = Field(description="cores this process may use")
    memory_gb: float | None
    python: str


class DataInfo(_Part):
    """What was replayed."""

    name: str
    kind: str = ""
    fingerprint: str = ""
    users: int
    items: int
    interactions: int
    simulated: bool = Field(default=False, description="the log is made up: to be said wherever the figures show")
    views: dict[str, str] = Field(default_factory=dict, description="model of each view of the items")
    notes: tuple[str, ...] = ()


class FoldInfo(_Part):
    """One fold: what was trained on and asked."""

    name: str
    train_interactions: int
    train_users: int = Field(description="users with an event in train")
    queries: int
    targets: int
    candidates: int
    left_out: dict[str, int] = Field(description="events neither in train nor asked for, by reason")
    not_asked: dict[str, int] = Field(description="users about whom nothing is asked, by reason")
    notes: tuple[str, ...]
    requests: dict[str, int] = Field(default={}, description="things said to policies asked in words, by kind")


class Protocol(_Part):
    """How the folds were made, and the rules of ranking."""

    name: str
    rules: tuple[str, ...]
    ks: tuple[int, ...] = Field(description="list lengths measured; the first is the main one")
    seeds: tuple[int, ...] = Field(description="of policies that depend on chance")
    rounds: int = Field(default=0, description="rounds of interactive replay; 0 for none")
    folds: tuple[FoldInfo, ...]


class Failure(_Part):
    """A cell whose policy raised."""

    policy: str
    fold: str
    seed: int
    error: str


class Groups(_Part):
    """A metric by group of users or items, with the gap between the best and the worst served."""

    by: str
    metric: str
    groups: dict[str, Estimate]
    gap: Estimate
    largest: str | None
    smallest: str | None
    left_out: tuple[str, ...] = Field(description="groups too small for the gap")
    unknown: int = Field(description="users of no group")


class Round(_Part):
    """One round of interactive replay."""

    round: int
    accepted: Estimate = Field(description="items accepted, for each user")
    recall: Estimate = Field(description="share of the user's future accepted so far")


class Timings(_Part):
    """Wall-clock seconds, the mean over folds and seeds."""

    fit: float
    score: float
    rank: float
    play: float = 0.0
    users_per_second: float | None = Field(description="scored and ranked, all users asked about")


class PolicyResult(_Part):
    """How one policy did."""

    name: str
    about: str
    config: str
    random: bool
    combined: bool = Field(description="made of other policies")
    status: Literal["done", "partly", "failed"] = Field(description="partly: some fold or seed failed")
    seeds: tuple[int, ...] = Field(default=(), description="finished on every fold it counts")
    folds: tuple[str, ...] = Field(default=(), description="finished; figures are over these")
    metrics: dict[str, Estimate] = Field(default={}, description="by name and list length (ndcg@10); mean over seeds")
    by_fold: dict[str, dict[str, float | None]] = Field(default={}, description="empty unless there are several folds")
    by_seed: dict[str, dict[str, float | None]] = Field(default={}, description="empty unless there are several seeds")
    groups: tuple[Groups, ...] = ()
    shown: dict[str, Estimate] = Field(default={}, description="share of all that is listed, by item group")
    rounds: tuple[Round, ...] = ()
    without_vector: dict[str, int] = Field(default={}, description="listed items that took no part, by metric")
    timings: Timings | None = None
    peak_mb: float | None = Field(default=None, description="peak resident memory of a cell, the data's included")
    unfit: int = Field(default=0, description="queries with a score that is not finite: each counts as a miss")
    figures: dict[str, float] = Field(default={}, description="what the model tells of itself, the mean over cells")


class Comparison(_Part):
    """One policy against the baseline, on the same users of the folds that both finished."""

    policy: str
    baseline: str
    metric: str
    difference: Estimate
    ratio: Estimate | None = None
    p: float | None = Field(default=None, description="paired randomization test")
    p_holm: float | None = Field(default=None, description="corrected for the number of policies compared")


class ReplayResult(_Part):
    """The whole of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["llm4rec.replay/1"] = Field(default="llm4rec.replay/1", alias="schema")
    created: datetime
    seconds: float
    reused_cells: int = Field(description="cells of an earlier run that were used again")
    machine: Machine
    versions: dict[str, str]
    data: DataInfo
    protocol: Protocol
    metrics: dict[str, str] = Field(description="what each metric is, by the name before the @")
    policies: tuple[PolicyResult, ...]
    baseline: str | None
    baseline_rule: str
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write it into a replay's folder, whole or not at all; returns its path."""
        path = folder / RESULT
        temporary = folder / f".{RESULT}-{os.getpid()}"
        temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return path


def read_result(folder: Path) -> ReplayResult:
    """Read a result again.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_kept(ReplayResult, folder, RESULT, made="llm4rec replay", mend="llm4rec replay --resume")


def read_kept(form: type[M], folder: Path, name: str, *, made: str, mend: str) -> M:
    """A record from a file of a folder.

    Args:
        form: what it is. made, mend: the commands that write it, and write it again.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / name
    try:
        return form.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} has no {name}: run '{made}' first") from None
    except (NotADirectoryError, IsADirectoryError):
        raise UserError(f"{folder} is no folder with a file {name} in it: name the folder") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
        raise UserError(f"{path} is damaged at {where}: run '{mend}' again") from None


def number(value: float) -> float | None:
    """A number for JSON; None for what is not finite."""
    return float(value) if math.isfinite(value) else None


def machine() -> Machine:
    """This machine."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=cores(),
        memory_gb=memory,
        python=platform.python_version(),
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def versions() -> Mapping[str, str]:
    """Of this package and of the libraries that figures come from."""
    from .. import __version__

    found = {"llm4rec": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
