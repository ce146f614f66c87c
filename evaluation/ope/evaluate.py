"""Values each logged policy from the logs of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...catalog.readers.raw import Progress, no_progress
from ...errors import UserError
from .bootstrap import LEVEL, RESAMPLES, on_policy
from .estimators import ESTIMATORS, Options, rounds_of, unsupported
from .judge import FLOOR, Estimate, estimate
from .log import BanditLog
from .obd import Campaign, find_logs, read_campaign
from .propensity import model_propensities, table_of
from .report import OpeComparison, OpeEstimate, OpeReport
from .reward_model import RewardConfig, RewardModel, fit_reward_model


def evaluate_bandit_logs(
    root: Path,
    *,
    campaigns: Sequence[str] | None = None,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    options: Options = Options(),
    model: RewardConfig = RewardConfig(),
    floor: float = FLOOR,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> OpeReport:
    """Value every logged policy from the log of every other policy of its campaign, beside its true on-policy mean.

        report = evaluate_bandit_logs(Path("obd"))
        for line in report.text(): ...          # first where the propensities come from, then what to keep in mind
        for row in render(report): ...          # dicts of text, ready for a table
        report.model_dump_json(by_alias=True)   # for machines, schema llm4rec.ope/1

    A log without propensities gets modelled ones, and the first line says so. The target is a table of chances per
    action and position, from its own log.

    Args:
        root: a folder of ``<policy>/<campaign>/<campaign>.csv`` (see :mod:`.obd`), two policies a campaign at least.
        campaigns: some of those there; None for all.
        estimators: keys of ``ESTIMATORS``: replay, ips, snips, dm, dr, sndr, switch-dr, dros.
        options: clipping and the parameters of switch-dr and dros.
        model: of the rewards, for dm and all after it.
        floor: effective sample size below which an estimator is refused.
        level: of the intervals, in (0, 1).
        resamples: of the bootstrap.
        seed: of the folds, the bootstrap and the draws of replay.
        progress: told of each long step.

    Raises:
        UserError: the folder or a file is missing or damaged (named with its line and value); an unknown campaign or
            estimator; no campaign with two policies; a level or number of resamples out of range.
    """
    if unknown := [name for name in estimators if name not in ESTIMATORS]:
        raise UserError(f"there is no estimator {unknown[0]!r}: choose from {', '.join(ESTIMATORS)}")
    if not estimators:
        raise UserError(f"no estimator is asked for: choose from {', '.join(ESTIMATORS)}")
    if not 0 < level < 1:
        raise UserError(f"the level of the intervals is {level}: give one between 0 and 1, such as 0.95")
    if resamples < 100:
        raise UserError(f"{resamples} resamples cannot carry an interval: give at least 100")
    if not floor >= 0:
        raise UserError(f"the floor of the effective sample size is {floor}: give a number of at least 0")
    files = find_logs(root)
    if absent := [name for name in campaigns or () if name not in files]:
        raise UserError(f"{root} has no campaign {absent[0]!r}: found {', '.join(files)}")
    wanted = [name for name in files if campaigns is None or name in campaigns]
    alone = [name for name in wanted if len(files[name]) < 2]
    if len(alone) == len(wanted):
        one = files[alone[0]]
        raise UserError(
            f"campaign {alone[0]!r} in {root} has the log of one policy ({', '.join(one)}): valuing one policy from "
            "another's log takes two"
        )
    notes = [f"campaign {name} has the log of one policy and is left out" for name in alone]
    comparisons: list[OpeComparison] = []
    missing: list[str] = []
    for name in wanted:
        if name in alone:
            continue
        read = read_campaign(name, files[name])
        logs = {policy: _with_propensities(log) for policy, log in read.logs.items()}
        missing += [f"{policy}/{name}" for policy, log in logs.items() if log.modelled]
        for source, log in logs.items():
            fitted = fit_reward_model(log, model, seed=seed, progress=progress)
            comparisons += [
                _compare(
                    read, log, fitted, source, target,
                    estimators=estimators, options=options, floor=floor, level=level, resamples=resamples, seed=seed,
                    progress=progress,
                )
                for target in read.logs
                if target != source
            ]  # fmt: skip
    return OpeReport(
        first_line=_first_line(missing),
        notes=(*notes, *_notes(comparisons, options)),
        floor=floor,
        level=level,
        resamples=resamples,
        clip=options.clip if np.isfinite(options.clip) else None,
        seed=seed,
        comparisons=tuple(comparisons),
    )


def _with_propensities(log: BanditLog) -> BanditLog:
    return log if log.propensity is not None else model_propensities(log)


def _compare(
    campaign: Campaign,
    log: BanditLog,
    model: RewardModel,
    source: str,
    target: str,
    *,
    estimators: Sequence[str],
    options: Options,
    floor: float,
    level: float,
    resamples: int,
    seed: int,
    progress: Progress,
) -> OpeComparison:
    own = campaign.logs[target]
    asked = table_of(own)
    truth, around = on_policy(own.reward, level=level, resamples=resamples, seed=seed)
    rounds = rounds_of(log, asked.policy, model.under(asked.policy, progress=progress))
    found = estimate(
        rounds, estimators, options=options, floor=floor, level=level, resamples=resamples, seed=seed, progress=progress
    )
    return OpeComparison(
        campaign=campaign.name,
        log=source,
        target=target,
        n=len(log),
        modelled=log.modelled,
        target_source=asked.source,
        unsupported=unsupported(log, asked.policy),
        reward_model=model.link,
        true_value=truth,
        true_interval=around,
        true_n=len(own),
        estimates=tuple(_reported(one, truth) for one in found),
    )


def _reported(one: Estimate, truth: float) -> OpeEstimate:
    error = None if one.value is None or truth == 0 else (one.value - truth) / truth
    covers = None if one.interval is None else one.interval[0] <= truth <= one.interval[1]
    return OpeEstimate(
        name=one.name,
        value=one.value,
        interval=one.interval,
        refused=one.refused,
        ess=one.ess,
        largest_weight=one.largest_weight,
        mean_weight=one.mean_weight,
        clipped=one.clipped,
        rewarded=one.rewarded,
        chosen=one.chosen if one.chosen is None or np.isfinite(one.chosen) else None,
        relative_error=error,
        covers=covers,
        note=one.note,
    )


def _first_line(missing: Sequence[str]) -> str:
    if missing:
        return (
            f"Propensities of {', '.join(missing)} are not in the log: they are MODELLED as means per action and "
            "position, and every estimate from these logs but the direct method's is only as good as that."
        )
    return "Propensities are those that the logging policies recorded."


def _notes(comparisons: Sequence[OpeComparison], options: Options) -> list[str]:
    shown = sorted({one.target for one in comparisons if one.target_source == "shown"})
    notes = []
    if shown:
        notes.append(
            f"The chances of {', '.join(shown)} are estimated from its own log as means per action and position (how "
            "often each was shown); where it looked at the user or learned on the way, that is another policy than "
            "the one whose mean stands beside."
        )
    if lacking := [one for one in comparisons if one.unsupported > 0]:
        worst = max(lacking, key=lambda one: one.unsupported)
        notes.append(
            f"Up to {worst.unsupported:.1%} of a target's choices are never shown in the log it is valued from "
            f"({worst.target} from {worst.log}, {worst.campaign})."
        )
    if np.isfinite(options.clip):
        notes.append(f"Weights above {options.clip:g} are cut; no interval holds the bias of that.")
    notes.append(
        "Intervals are by bootstrap over rounds; they do not hold the bias of a reward model, errors of estimated "
        "chances, or that rounds of one user depend on one another."
    )
    return notes
