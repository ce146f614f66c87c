"""What off-policy evaluation found: as data for machines, as rows and lines for people."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class OpeEstimate(_Part):
    """One estimator's word on one target policy."""

    name: str
    value: float | None = Field(description="mean reward a round; null when refused")
    interval: tuple[float, float] | None = Field(description="by bootstrap over rounds; null when refused")
    refused: str | None = Field(description="why there is no value")
    ess: float | None = Field(description="(sum w)^2 / sum w^2 of the weights used; null where none are")
    largest_weight: float | None
    mean_weight: float | None = Field(
        description="before any is cut: 1 in expectation under right propensities and full overlap"
    )
    clipped: float = Field(description="share of rounds whose weight was cut, given to the model, or halved")
    rewarded: float = Field(description="effective number of rewarded rounds")
    chosen: float | None = Field(description="tau of switch-dr, lambda of dros")
    relative_error: float | None = Field(description="(value - true) / true; null without either or where true is 0")
    covers: bool | None = Field(description="whether the interval holds the true value; null without either")
    note: str


class OpeComparison(_Part):
    """A target policy valued from the log of another."""

    campaign: str
    log: str = Field(description="the policy that made the log")
    target: str = Field(description="the policy that is valued")
    n: int = Field(description="rounds of the log")
    modelled: bool = Field(description="the log's propensities were modelled, not recorded")
    target_source: Literal["recorded", "shown"] = Field(
        description="the target's chances per action and position: recorded by it, or how often its own log shows each"
    )
    unsupported: float = Field(description="share of the target's choices that the log never shows at that position")
    reward_model: Literal["logistic", "linear"]
    true_value: float = Field(description="mean reward in the target's own log")
    true_interval: tuple[float, float] | None
    true_n: int
    estimates: tuple[OpeEstimate, ...]


class OpeReport(_Part):
    """Every pair of logged policies of every campaign."""

    schema_: Literal["llm4rec.ope/1"] = Field(default="llm4rec.ope/1", alias="schema")
    first_line: str = Field(description="where the propensities come from: to be shown before any figure")
    notes: tuple[str, ...] = ()
    floor: float = Field(description="effective sample size below which an estimator is refused")
    level: float = Field(description="of the intervals")
    resamples: int
    clip: float | None = Field(description="weights above it are cut; null: none are")
    seed: int
    comparisons: tuple[OpeComparison, ...]

    def text(self) -> list[str]:
        """The first line and the notes, for above a table of :func:`render`."""
        return [self.first_line, *self.notes]


def render(report: OpeReport) -> list[dict[str, str]]:
    """One row an estimate, all as text, columns in the order to show them."""
    rows = []
    for comparison in report.comparisons:
        for one in comparison.estimates:
            said = one.refused if one.refused is not None else one.note
            rows.append(
                {
                    "campaign": comparison.campaign,
                    "log": comparison.log,
                    "target": comparison.target,
                    "estimator": one.name,
                    "value": "refused" if one.value is None else f"{one.value:.5f}",
                    f"{report.level:.0%} interval": _interval(one.interval),
                    "true": f"{comparison.true_value:.5f} {_interval(comparison.true_interval)}",
                    "relative error": "" if one.relative_error is None else f"{one.relative_error:+.0%}",
                    "ESS": "" if one.ess is None else f"{one.ess:,.0f}",
                    "largest weight": "" if one.largest_weight is None else f"{one.largest_weight:,.1f}",
                    "clipped": f"{one.clipped:.1%}",
                    "note": said,
                }
            )
    return rows


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.5f}, {interval[1]:.5f}]"
