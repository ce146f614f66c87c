"""From contributions to an estimate: value, interval, diagnostics, and when to say nothing.

Intervals are bias-corrected and accelerated bootstrap intervals (BCa, Efron 1987) over rounds; all estimators share
the same resamples. Where a reward model is used, what each round did to the fitted model counts too (by its influence
function), so that the direct method does not look certain only because its model is held fixed.

What no interval here holds: the bias of a model or of clipped weights, propensities or target policies that were
themselves estimated, and rounds that depend on one another (several rounds of one user).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...catalog.readers.raw import Progress, no_progress
from .bootstrap import LEVEL, RESAMPLES, intervals
from .estimators import ESTIMATORS, Options, Parts, Rounds

#: Least effective sample size at which an estimator speaks. On made-up logs with a known truth, 95 % intervals held it
#: in 92 to 98 % of the logs from 50 to 100, in 84 to 92 % from 25 to 50, and in 65 to 80 % under 5, where those of
#: switching and shrinking held it in 6 to 25 % (benchmarks/results/ope-floor.md).
FLOOR = 50.0
#: Weights average 1 in expectation when the log can show all that the target chooses and its propensities are right.
#: An effective sample size does not see it when they do not: a log of one action has equal weights. So an average off 1
#: by more than this, and by more than so many standard errors, silences whatever uses weights.
MEAN_WEIGHT_TOLERANCE = 0.1
MEAN_WEIGHT_ERRORS = 4.0
#: Fewer rewarded rounds than this, in effect, and an estimate carries a warning.
FEW_REWARDS = 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one estimator says of a target policy's value.

    Attributes:
        name: of the estimator.
        value: mean reward a round; None when refused.
        interval: 95 % (or the level asked for); None when refused.
        ess: (sum w)^2 / sum w^2 of the weights used (Kish 1965); None for the direct method, which uses none.
        largest_weight: of the weights used; None likewise.
        mean_weight: of the weights before any is cut, 1 in expectation; None likewise.
        clipped: share of rounds whose weight was cut, moved to the model or shrunk by half or more.
        n: rounds of the log.
        rewarded: effective number of rounds with a reward, (sum |w r|)^2 / sum (w r)^2; for the direct method the same
            with all weights 1.
        refused: why there is no value; None when there is one.
        chosen: tau of Switch-DR or lambda of DRos.
        note: what to keep in mind reading the value, or nothing.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    ess: float | None
    largest_weight: float | None
    mean_weight: float | None
    clipped: float
    n: int
    rewarded: float
    refused: str | None = None
    chosen: float | None = None
    note: str = ""


def estimate(
    rounds: Rounds,
    names: Sequence[str] = tuple(ESTIMATORS),
    *,
    options: Options = Options(),
    floor: float = FLOOR,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[Estimate]:
    """Value a target policy with each named estimator.

    An estimator is refused when the effective sample size of the weights it uses is below ``floor``, or when the
    weights average so far from 1 that they cannot be right. The direct method uses no weights: it is held to the floor
    by its number of rounds, and its note says what its interval lacks.
    Switch-DR and DRos with nearly all weight taken away are refused like the others: what is left of them is the
    direct method, which speaks for itself.

    Args:
        names: keys of :data:`.estimators.ESTIMATORS`.
        floor: least effective sample size; 0 lets everything speak.
        level: of the intervals, in (0, 1).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: an unknown name, or an estimator that needs a reward model without one.
    """
    if unknown := [name for name in names if name not in ESTIMATORS]:
        raise ValueError(f"no estimator {', '.join(unknown)}: there are {', '.join(ESTIMATORS)}")
    parts = [ESTIMATORS[name](rounds, options) for name in names]
    found = [_describe(name, part, rounds, floor) for name, part in zip(names, parts, strict=True)]
    speaking = [number for number, one in enumerate(found) if one.refused is None]
    columns = [_with_model(parts[number], rounds) for number in speaking]
    ends = intervals(columns, level=level, resamples=resamples, seed=seed, progress=progress)
    for number, interval in zip(speaking, ends, strict=True):
        one = found[number]
        if interval is None:
            refused = (
                "the rounds that count are too few, or all of the same reward: nothing tells how wide an interval is"
            )
            found[number] = replace(one, refused=refused)
        else:
            found[number] = replace(one, value=parts[number].value, interval=interval)
    return found


def _with_model(part: Parts, rounds: Rounds) -> Parts:
    """The contributions with what each round did through the reward model added."""
    if part.subtracted is None or rounds.influence is None:
        return part
    moved = rounds.influence(part.subtracted)
    return Parts(part.direct + (moved - moved.mean()), part.top, part.bottom, part.used, part.subtracted)


def _describe(name: str, part: Parts, rounds: Rounds, floor: float) -> Estimate:
    n = len(rounds.reward)
    used = part.used
    ess = None if used is None else effective(used)
    rewarded = effective(np.abs(rounds.reward if used is None else used * rounds.reward))
    refused = _refusal(rounds, ess, floor)
    notes = ["its interval does not hold the bias of its model"] if used is None else []
    if rewarded < FEW_REWARDS:
        notes.append(f"rests on {rewarded:.0f} rewarded rounds in effect")
    return Estimate(
        name=name,
        value=None,
        interval=None,
        ess=ess,
        largest_weight=None if used is None else float(used.max()),
        mean_weight=None if used is None else float(rounds.weight.mean()),
        clipped=part.clipped,
        n=n,
        rewarded=rewarded,
        refused=refused,
        chosen=part.chosen,
        note="; ".join(notes) if refused is None else "",
    )


def _refusal(rounds: Rounds, ess: float | None, floor: float) -> str | None:
    """Why an estimator with this effective sample size (None: it uses no weights) says nothing, or None."""
    n = len(rounds.reward)
    if ess is None:
        return f"{n:,} rounds are below the floor of {floor:g}" if n < floor else None
    if ess == 0:
        return "no round has any weight: the target never chooses what was logged"
    if ess < floor:
        return (
            f"the effective sample size is {ess:.1f} of {n:,} rounds, below the floor of {floor:g}: "
            "the two policies choose too differently"
        )
    mean, error = float(rounds.weight.mean()), float(rounds.weight.std()) / np.sqrt(n)
    if abs(mean - 1) > max(MEAN_WEIGHT_TOLERANCE, MEAN_WEIGHT_ERRORS * error):
        return (
            f"the weights average {mean:.2f} where right propensities give 1: the log lacks what the target often "
            "chooses, or its propensities are wrong"
        )
    return None


def effective(weight: NDArray[np.float64]) -> float:
    """(sum w)^2 / sum w^2; 0 where all are 0."""
    largest = float(weight.max(initial=0.0))
    if largest == 0:
        return 0.0
    scaled = weight / largest
    return float(scaled.sum() ** 2 / (scaled**2).sum())
