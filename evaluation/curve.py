"""What a correction of popularity costs and brings: one ranker at several settings of its dial, on one replay.

The curve is read off the result of a replay in which a policy takes part as it is and with ``@debias=D`` (how much of
what makes an item likely for everybody is taken off, from 0 to 1) or ``@beta=B`` (an amount of the score for each
doubling of popularity) behind its name.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..causal.report import Answer
from ..errors import UserError
from .fairness import Fairness
from .results import DataInfo, Estimate, Groups, ReplayResult, read_kept

#: Name of the curve's document in its folder.
CURVE = "curve.json"
#: Settings of the dial that the curve is measured at.
DIALS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
#: Figures of a point, by their names before the @.
FIGURES = ("ndcg", "hr", "balanced_ndcg", "balanced_hr", "coverage", "novelty", "popularity_lift", "gini")
_DIAL = re.compile(r"@(debias|beta)=([0-9.eE+-]+)$")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class Point(_Part):
    """The ranker at one setting."""

    policy: str
    dial: float | None = Field(
        default=None, description="share of what makes an item likely for everybody that is taken off"
    )
    beta: float | None = Field(default=None, description="amount of the score taken away for each doubling")
    metrics: dict[str, Estimate] = Field(description="by name and list length")
    differences: dict[str, Estimate] = Field(default={}, description="to the ranker as it is, on the same users")
    ratios: dict[str, Estimate] = Field(default={}, description="to the ranker as it is, on the same users")
    groups: tuple[Groups, ...] = Field(default=(), description="quality by group, with the gap")
    shown: dict[str, Estimate] = Field(default={}, description="share of all that is listed, by item group")

    @property
    def label(self) -> str:
        """The setting as it is written at a command."""
        if self.dial is not None:
            return f"{self.dial:g}"
        return "0" if self.beta is None else f"beta {self.beta:.3g}"


class Curve(_Part):
    """The ranker at every setting, the first as it is."""

    schema_: Literal["llm4rec.bias-curve/1"] = Field(default="llm4rec.bias-curve/1", alias="schema")
    created: datetime
    data: DataInfo
    protocol: str
    queries: int
    k: int = Field(ge=1, description="length of the lists")
    ranker: str = Field(description="the policy that is corrected")
    points: tuple[Point, ...] = Field(min_length=1)
    fairness: tuple[Fairness, ...] = Field(
        default=(), description="gaps between groups as it is, and with the derived correction and one of the dial"
    )
    answers: tuple[Answer, ...] = Field(
        default=(), description="what sensitive attributes do to the quality of the ranker's lists"
    )
    seconds: float

    @property
    def plain(self) -> Point:
        """The ranker as it is."""
        return self.points[0]

    @property
    def derived(self) -> Point | None:
        """The ranker with the correction that the causal report derives, where that is not none."""
        return next((point for point in self.points if point.beta is not None), None)

    def cheapest(self, coverage: float, ndcg: float) -> Point | None:
        """The point with the highest NDCG whose coverage is ``coverage`` times that of the plain one and whose NDCG is
        ``ndcg`` times; None where there is none."""
        base_coverage, base_ndcg = (self.value(self.plain, name) for name in ("coverage", "ndcg"))
        if base_coverage is None or base_ndcg is None:
            return None
        found = [
            (reached, point)
            for point in self.points[1:]
            if (reached := self.value(point, "ndcg")) is not None
            and (seen := self.value(point, "coverage")) is not None
            and seen >= coverage * base_coverage
            and reached >= ndcg * base_ndcg
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def value(self, point: Point, name: str) -> float | None:
        """A figure of a point at the curve's list length."""
        found = point.metrics.get(f"{name}@{self.k}")
        return None if found is None else found.mean

    def write(self, folder: Path) -> Path:
        """Write it into a folder, whole or not at all; returns its path."""
        path, temporary = folder / CURVE, folder / f".{CURVE}-{os.getpid()}"
        temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return path


def policies_of_curve(ranker: str, *, beta: float = 0.0) -> list[str]:
    """Names of the policies that a curve is made of: the ranker as it is, with each dial, and with the derived amount.

    Args:
        ranker: name of the policy.
        beta: what the causal report has subtracted for each doubling; 0 for nothing.
    """
    names = [ranker, *(f"{ranker}@debias={dial:g}" for dial in DIALS if dial > 0)]
    return [*names, f"{ranker}@beta={beta:.6g}"] if beta > 0 else names


def curve_of(result: ReplayResult) -> Curve:
    """The curve that a replay holds.

    Raises:
        UserError: no policy takes part both as it is and with a dial, or it failed.
    """
    done = {one.name: one for one in result.policies if one.metrics}
    found: dict[str, list[tuple[str, re.Match[str]]]] = {}
    for name in done:
        if (match := _DIAL.search(name)) is not None and (base := name[: match.start()]) in done:
            found.setdefault(base, []).append((name, match))
    if not found:
        raise UserError(
            "the replay holds no ranker both as it is and with a dial: replay --policies fused,fused@debias=0.3 or more"
        )
    ranker = max(found, key=lambda base: len(found[base]))
    k = result.protocol.ks[0]
    points = [_point(result, ranker, ranker, k)]
    for name, match in found[ranker]:
        value = _number(match.group(2), name)
        points.append(_point(result, name, ranker, k, **{"dial" if match.group(1) == "debias" else "beta": value}))
    points[1:] = sorted(points[1:], key=lambda point: (point.dial is None, point.dial or point.beta or 0.0))
    return Curve(
        created=result.created,
        data=result.data,
        protocol=result.protocol.name,
        queries=sum(fold.queries for fold in result.protocol.folds),
        k=k,
        ranker=ranker,
        points=tuple(points),
        seconds=result.seconds,
    )


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{name[:60]!r} has no number behind its dial") from None


def _point(
    result: ReplayResult, name: str, ranker: str, k: int, *, dial: float | None = None, beta: float | None = None
) -> Point:
    one = next(policy for policy in result.policies if policy.name == name)
    wanted = [f"{figure}@{k}" for figure in FIGURES]
    paired = [c for c in result.comparisons if c.policy == name and c.baseline == ranker and c.metric in wanted]
    return Point(
        policy=name,
        dial=dial,
        beta=beta,
        metrics={metric: one.metrics[metric] for metric in wanted if metric in one.metrics},
        differences={c.metric: c.difference for c in paired},
        ratios={c.metric: c.ratio for c in paired if c.ratio is not None},
        groups=one.groups,
        shown=one.shown,
    )


def read_curve(folder: Path) -> Curve:
    """A curve from its folder.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_kept(Curve, folder, CURVE, made="llm4rec bias --curve", mend="llm4rec bias --curve")
