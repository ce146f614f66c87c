"""What the causal estimate says: as data for the build, as a paragraph for people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError

SCHEMA = "llm4rec.bias/1"


class Refutation(BaseModel):
    """One attempt to break the estimate.

    ``effect`` is the mean effect found on perturbed data, ``expected`` what it should be near, ``note`` what was done
    and when it passes.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    effect: float
    expected: float
    passed: bool
    note: str


class BiasReport(BaseModel):
    """What an item's popularity before a rating did to the rating, or why that cannot be said.

    Effects are changes of the rating, in ``unit``, for each doubling of (1 + the item's earlier interactions).
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["llm4rec.bias/1"] = Field(default="llm4rec.bias/1", alias="schema")
    question: str
    treatment: str
    outcome: str
    unit: str = Field(description="of the effects: stars, or points of another scale")
    estimator: str
    verdict: Literal["estimated", "not estimated"]
    reason: str = Field(default="", description='completes "not estimated, because ..."')
    estimate: float | None = None
    interval: tuple[float, float] | None = Field(default=None, description="95 %")
    naive: float | None = Field(default=None, description="the slope with nothing adjusted for")
    naive_interval: tuple[float, float] | None = None
    adjusted_for: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    n: int = Field(default=0, description="events used")
    n_users: int = 0
    n_items: int = 0
    n_log: int = Field(default=0, description="events of the log")
    refutations: tuple[Refutation, ...] = ()
    strength: float = Field(
        default=0.0,
        ge=0.0,
        description="what ranking may subtract for each doubling: the end of the interval next to 0; 0 where the "
        "interval holds 0, the effect is negative or a refutation fails",
    )
    simulated: bool = False
    seed: int = 0
    graph: str = Field(default="", description="the causal graph, in Mermaid")

    def text(self) -> str:
        """A short paragraph for people."""
        log = "the simulated log" if self.simulated else "the log"
        if self.estimate is None or self.interval is None or self.naive is None:
            return f"The effect of popularity on ratings is not estimated from {log}, because {self.reason}."
        low, high = self.interval
        said = [
            f"In {log}, doubling the number of earlier ratings of an item changes its next rating by "
            f"{self.estimate:+.2f} {self.unit} (95 % interval {low:+.2f} to {high:+.2f}; {self.n:,} ratings).",
            f"Unadjusted it looks like {self.naive:+.2f}; the difference comes with who rates what and when.",
        ]
        passed = [r.name for r in self.refutations if r.passed]
        failed = [r.name for r in self.refutations if not r.passed]
        if passed:
            said.append(f"Refutations passed: {', '.join(passed)}.")
        if failed:
            said.append(f"Refutations failed: {', '.join(failed)}.")
        if self.strength:
            said.append(f"Ranking may subtract up to {self.strength:.2f} {self.unit} for each doubling.")
        else:
            why = (
                "a refutation failed"
                if failed
                else "popularity lowers ratings here"
                if high < 0
                else "the interval holds 0"
            )
            said.append(f"Ranking subtracts nothing: {why}.")
        return " ".join(said)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(self.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")


def read_report(path: Path) -> BiasReport:
    """A report from its JSON.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    try:
        return BiasReport.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: build the workspace again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is damaged at {where} ({first['msg']}): build the workspace again") from None
