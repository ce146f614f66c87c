"""Measures the off-policy estimators: on the Open Bandit sample, and on made-up logs whose truth is known.

    LLM4REC_DATA=folder python benchmarks/bench_ope.py [--seeds 100] [--only logs synthetic floor]

Three tables: ``ope-logs`` values each logged policy from the other's log; ``ope-synthetic`` gives bias, variance and
coverage of each estimator; ``ope-floor`` gives coverage by effective sample size, the reason for the floor.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from llm4rec.evaluation.ope import (
    ESTIMATORS,
    FLOOR,
    Estimate,
    Options,
    RewardConfig,
    estimate,
    evaluate_bandit_logs,
    fit_reward_model,
    render,
    rounds_of,
)
from llm4rec.evaluation.ope.synthetic import SyntheticConfig, World, make_world
from report import Row, write

WORLD = 5
RESAMPLES = 1000
#: How far the logging policy (first) is from the target (second), and how rare rewards are.
SETTINGS = {
    "uniform log": SyntheticConfig(logging=0.0, target=2.0),
    "opposed log": SyntheticConfig(logging=-1.0, target=2.0),
    "rare clicks": SyntheticConfig(logging=0.0, target=2.0, rate=0.02),
}
WITHOUT_MODEL = ("replay", "ips", "snips")
BANDS = (0, 5, 10, 25, 50, 100, 200, 500, np.inf)


def logs(root: Path) -> None:
    """Each logged policy of the sample from the other's log."""
    started = time.perf_counter()
    report = evaluate_bandit_logs(root)
    spent = time.perf_counter() - started
    cut = evaluate_bandit_logs(root, options=Options(clip=100.0), estimators=("ips", "snips", "dr", "sndr"))
    rows: list[Row] = []
    for found, clip in ((report, "none"), (cut, "100")):
        for line, one in zip(render(found), [e for c in found.comparisons for e in c.estimates], strict=True):
            covers = "" if one.covers is None else "yes" if one.covers else "no"
            row = {"campaign": line.pop("campaign"), "log": line.pop("log"), "target": line.pop("target")}
            rows.append({**row, "weights cut at": clip, **line, "interval holds the true value": covers})
    notes = [
        *report.text(),
        f"Refused below an effective sample size of {report.floor:g}. The rows with uncut weights took {spent:.1f} s.",
        "The true value is the mean click rate in the target's own log (10,000 rounds), itself uncertain.",
    ]
    print(write("ope-logs", rows, notes, {"folds, bootstrap and draws of replay": report.seed}).read_text("utf-8"))


def one_log(world: World, seed: int, interactions: bool = False) -> list[Estimate]:
    """All estimates from one made-up log, none refused for its effective sample size."""
    made = world.log(seed=seed)
    model = fit_reward_model(made.log, RewardConfig(interactions=interactions), seed=seed)
    rounds = rounds_of(made.log, made.target, model.under(made.target))
    return estimate(rounds, options=Options(seed=seed), floor=0, resamples=RESAMPLES, seed=seed)


def synthetic(seeds: int) -> None:
    """Bias, variance, error and coverage of each estimator."""
    rows: list[Row] = []
    for setting, config in SETTINGS.items():
        world = make_world(config, seed=WORLD)
        truth = world.value()
        for interactions in (False, True):
            found: dict[str, list[Estimate]] = defaultdict(list)
            for seed in range(seeds):
                for one in one_log(world, seed, interactions):
                    found[one.name].append(one)
            for name, estimates in found.items():
                if interactions and name in WITHOUT_MODEL:
                    continue  # they use no model
                spoke = [one for one in estimates if one.value is not None and one.interval is not None]
                values = np.array([one.value for one in spoke], dtype=np.float64)
                held = [one.interval[0] <= truth <= one.interval[1] for one in spoke if one.interval is not None]
                width = [one.interval[1] - one.interval[0] for one in spoke if one.interval is not None]
                ess = [one.ess for one in estimates if one.ess is not None]
                rows.append(
                    {
                        "setting": setting,
                        "estimator": name,
                        "model": "" if name in WITHOUT_MODEL else "right" if interactions else "wrong",
                        "true value": round(truth, 4),
                        "bias": round(float(values.mean() - truth), 4),
                        "standard error of bias": round(float(values.std() / len(values) ** 0.5), 4),
                        "variance": float(f"{values.var():.3g}"),
                        "RMSE": round(float(np.sqrt(((values - truth) ** 2).mean())), 4),
                        "coverage of 95 %": round(float(np.mean(held)), 2),
                        "mean width": round(float(np.mean(width)), 4),
                        "median ESS": round(float(np.median(ess)), 0) if ess else "",
                        "under the floor": sum(one.ess is not None and one.ess < FLOOR for one in estimates),
                        "no value": len(estimates) - len(spoke),
                    }
                )
            print(setting, interactions, flush=True)
    notes = [
        f"{seeds} logs a setting of 2,000 rounds, 10 actions and 5 features from one world each, softmax policies; "
        "the logging policy is uniform, or prefers the actions that earn least (opposed); the target prefers the best.",
        "model: logistic regression, wrong without the interactions of context and action that the world has, right "
        "with them. Switch-DR and DRos with their default thresholds.",
        "The floor of the effective sample size is off, so that all can be seen; 'under the floor' counts the logs on "
        "which it would refuse, 'no value' those refused for another reason (weights that do not average 1).",
        f"With {seeds} logs a coverage of 0.95 has a standard error of {np.sqrt(0.95 * 0.05 / seeds):.2f}. Intervals "
        "do not hold a model's bias: the direct method's miss the truth when its model is wrong.",
    ]
    seed_names = {"world": WORLD, "logs, from 0 to": seeds - 1}
    print(write("ope-synthetic", rows, notes, seed_names).read_text("utf-8"))


def floor(seeds: int) -> None:
    """Coverage by effective sample size, over worlds from easy to hopeless."""
    held: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for logging in (-2.0, -1.5, -1.0, -0.5):
        for rounds in (250, 1000):
            base = SyntheticConfig(n_rounds=rounds, logging=logging, target=2.5, rate=0.15)
            worlds = [make_world(base, seed=seed) for seed in range(5)]
            truths = [world.value(n=100_000) for world in worlds]
            for seed in range(seeds // 2):
                world, truth = worlds[seed % 5], truths[seed % 5]
                for one in one_log(replace(world, config=base), seed):
                    if one.ess is not None and one.interval is not None and one.name != "replay":
                        band = int(np.searchsorted(BANDS, one.ess, side="right")) - 1
                        held[one.name, band].append(one.interval[0] <= truth <= one.interval[1])
        print("floor", logging, flush=True)
    rows: list[Row] = []
    for band, low in enumerate(BANDS[:-1]):
        if not any(held[name, band] for name in ESTIMATORS):
            continue
        high = BANDS[band + 1]
        row: dict[str, str | float | int] = {
            "ESS from": low,
            "to": "" if np.isinf(high) else high,
            "logs": max((len(held[name, band]) for name in ESTIMATORS), default=0),
        }
        for name in ESTIMATORS:
            if held[name, band]:
                row[name] = round(float(np.mean(held[name, band])), 2)
        rows.append(row)
    notes = [
        "Share of 95 % intervals that hold the truth, by the effective sample size of the estimate, over made-up logs "
        "of 250 and 1,000 rounds whose logging policy prefers what earns least, more or less strongly; wrong model.",
        f"The floor is {FLOOR:g}. Replay is left out: its effective sample size is the number of rounds it keeps.",
        "Logs on which the weights do not average 1 are refused before, and not counted.",
    ]
    print(
        write("ope-floor", rows, notes, {"worlds, from 0 to": 4, "logs, from 0 to": seeds // 2 - 1}).read_text("utf-8")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the off-policy estimators.")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument(
        "--only", nargs="+", choices=("logs", "synthetic", "floor"), default=["logs", "synthetic", "floor"]
    )
    given = parser.parse_args()
    data = Path(os.environ.get("LLM4REC_DATA", Path(__file__).parents[2] / "shared" / "data")) / "obd"
    if "logs" in given.only:
        if data.is_dir():
            logs(data)
        else:
            print(f"{data} is absent: the table of logged policies is left out")
    if "synthetic" in given.only:
        synthetic(given.seeds)
    if "floor" in given.only:
        floor(given.seeds)


if __name__ == "__main__":
    main()
