"""Measures the online posterior: how soon it knows a new user, how it follows a change of taste, what exploring costs,
and how fast it is.

    python benchmarks/bench_posterior.py [DATA | --workspace FOLDER] [--groups 3] [--fused 1] [--name NAME]
                    [--only curve drift bandit speed]

DATA (or LLM4REC_DATA) holds the folder ml-100k-posters, of which a workspace is built; --workspace is one. A group is a
tenth of the users, held out entirely; groups have no user in common. Of each held-out user the first 0, 1, 2, 5, 10, 20
events are told, and what came after the twentieth is to be found among all items but the first twenty: the same targets
and the same candidates for every policy and every number of events. A policy *refitted* was fitted from scratch on the
log with the told events of the held-out users in it: the ceiling. --fused is the number of groups in which the fused
model, without the transformer, is asked and refitted too, which takes by far the longest.
"""

from __future__ import annotations

import os

#: One thread: read when the libraries load, so set before they do.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from llm4rec.catalog.workspace import Workspace
from llm4rec.evaluation.folds import best
from llm4rec.evaluation.intervals import Interval, compare, interval, ratio_interval
from llm4rec.evaluation.metrics.accuracy import ndcg
from llm4rec.evaluation.study import Material, material_of
from llm4rec.profiles.posterior import Observation, Posterior, States
from llm4rec.ranking.als import AlsConfig, fit_als
from llm4rec.ranking.base import Model
from llm4rec.ranking.ease import EaseConfig, fit_ease_model
from llm4rec.ranking.fused import FusedConfig, fit_fused
from llm4rec.ranking.history import from_log
from llm4rec.ranking.itemknn import ItemKnnConfig, fit_itemknn
from llm4rec.ranking.labels import label_matrix, labelling
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.popularity import fit_popularity
from llm4rec.ranking.posterior_ranker import PosteriorRanker
from llm4rec.ranking.space import ItemSpace, SpaceConfig, SpaceInfo, fit_space
from numpy.typing import NDArray
from report import Row, write

TOLD = (0, 1, 2, 5, 10, 20)
EARLY = max(TOLD)
K = 10
#: Users like the asker that a profile is compared with.
NEIGHBOURS = 50
Scores = NDArray[np.floating]


class Neighbours:
    """Nearest-neighbour profiles: what the users whose logs are most like the events told (cosine) chose."""

    name = "neighbours"

    def __init__(self, log: Log) -> None:
        self.n_items = log.n_items
        self._users = log.matrix()
        self._lengths = np.sqrt(np.maximum(log.lengths, 1))

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        alike = (pasts.signals() @ self._users.T).toarray() / self._lengths
        floor = np.partition(alike, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS][:, None]
        # Ties and the unknown fall back on everybody, ever so little.
        weights = np.where((alike >= floor) & (alike > 0), alike, 0) + 1e-6
        return np.asarray(weights @ self._users, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Group:
    """Held-out users.

    Attributes:
        log: of everybody. rest: without them. users: (b,).
        targets, allowed: (b, n_items).
    """

    log: Log
    rest: Log
    users: NDArray[np.int64]
    targets: NDArray[np.bool_]
    allowed: NDArray[np.bool_]

    @classmethod
    def of(cls, log: Log, users: NDArray[np.int64]) -> Group:
        targets = np.zeros((len(users), log.n_items), dtype=np.bool_)
        allowed = np.ones_like(targets)
        for at, user in enumerate(users.tolist()):
            rows = log.items[log.of_user(user)]
            targets[at, rows[EARLY:]] = True
            allowed[at, rows[:EARLY]] = False
        held = np.isin(log.users, users)
        return cls(log, log.keep(~held), users, targets, allowed)

    def told(self, count: int) -> Pasts:
        return self.log.pasts(self.users, known=np.full(len(self.users), count))

    def with_told(self, count: int) -> Log:
        """The log of the others and the first events of these."""
        place = np.arange(len(self.log)) - np.repeat(self.log.offsets[:-1], self.log.lengths)
        return self.log.keep(~np.isin(self.log.users, self.users) | (place < count))

    def ndcg(self, scores: Scores) -> NDArray[np.float64]:
        return ndcg_of(scores, self.targets, self.allowed)


def ndcg_of(scores: Scores, targets: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(b,): NDCG at 10."""
    lists = best(scores, allowed, K)
    hits = np.take_along_axis(targets, np.maximum(lists, 0), axis=1) & (lists >= 0)
    return ndcg(hits, targets.sum(axis=1))


def groups_of(log: Log, count: int, seed: int) -> list[Group]:
    """Tenths of the users, of whom those with more than the early events are asked."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(log.lengths > EARLY))
    size = -(-log.n_users // 10)
    return [Group.of(log, np.sort(order[at * size : (at + 1) * size])) for at in range(count)]


def curve(material: Material, groups: Sequence[Group], fused: int) -> list[Row]:
    """NDCG after so many events, the intervals over all held-out users, and the shares of the ceilings' gains."""
    found: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    of_fused: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    for at, group in enumerate(groups):
        fixed = fitted(material, group.rest)
        fused_once = {name: fused_model(material, group.rest, *more) for name, more in FUSED.items() if at < fused}
        for count in TOLD:
            say(f"group {at + 1} of {len(groups)}, {count} events")
            told, log = group.told(count), group.with_told(count)
            scores = {name: model.score_many(told) for name, model in fixed.items()}
            for name, fit in REFITTED.items():
                scores[f"{name}, refitted"] = fit(material, log).score_many(told)
            for name, values in scores.items():
                found.setdefault((name, count), []).append(group.ndcg(values))
            if fused_once:
                again = {"fused, refitted": fused_model(material, log, "posterior") if count else fused_once["fused"]}
                for name, model in {**fused_once, **again}.items():
                    of_fused.setdefault((name, count), []).append(group.ndcg(model.score_many(told)))
    return _rows(found, found) + _rows(of_fused, found)


Figures = Mapping[tuple[str, int], Sequence[NDArray[np.float64]]]


def _rows(figures: Figures, others: Figures) -> list[Row]:
    rows: list[Row] = []
    for name in dict.fromkeys(name for name, _ in figures):
        row: dict[str, str | float | int] = {"policy": name}
        for count in TOLD:
            values = np.concatenate(figures[name, count])
            row["users"] = len(values)
            row[f"NDCG@10 after {count}"] = told_of(interval(values))
        for count in TOLD[1:]:
            if not name.endswith("refitted"):
                continue
            parts = len(figures[name, count])
            base, mine = (np.concatenate(others[one, count][:parts]) for one in ("popularity", "posterior"))
            ceiling = np.concatenate(figures[name, count])
            gain = ceiling - base
            row[f"posterior's share of its gain after {count}"] = (
                told_of(ratio_interval(mine - base, gain), 2) if gain.mean() > 0 else "no gain"
            )
        rows.append(row)
    return rows


def fitted(material: Material, log: Log) -> dict[str, Model]:
    """What reads the told events and was fitted without the held-out users."""
    return {
        "popularity": fit_popularity(log),
        "posterior": posterior(material, log),
        "posterior, behaviour alone": PosteriorRanker(fit_space(log)),
        "posterior, no drift": PosteriorRanker(
            fit_space(log, material.catalogue, material.views, SpaceConfig(keeps=(1.0,)))
        ),
        "neighbours": Neighbours(log),
    }


def posterior(material: Material, log: Log) -> PosteriorRanker:
    return PosteriorRanker(fit_space(log, material.catalogue, material.views))


def fused_model(material: Material, log: Log, *more: str) -> Model:
    parts = tuple(part for part in FusedConfig().parts if part not in ("sequence", "posterior"))
    return fit_fused(log, material.catalogue, material.views, FusedConfig(parts=(*parts, *more)))


#: The fused model without the posterior, and with it.
FUSED: Mapping[str, tuple[str, ...]] = {"fused without a posterior part": (), "fused": ("posterior",)}
#: Batch models: fitted from scratch with the told events of the held-out users in the log.
REFITTED: Mapping[str, Callable[[Material, Log], Model]] = {
    "posterior": posterior,
    "ease": lambda material, log: fit_ease_model(log, EaseConfig()),
    "als": lambda material, log: fit_als(log, AlsConfig(factors=32, alpha=2.0, regularization=10.0, tau=15.0)),
    "item-kNN": lambda material, log: fit_itemknn(log, ItemKnnConfig(k=20)),
}


# Drift


def drift(material: Material, groups: Sequence[Group]) -> list[Row]:
    """After ten events of one genre, how many of another until the lists are what they would be without the ten."""
    assert material.catalogue is not None
    name = labelling(material.catalogue.attributes)
    assert name is not None
    labels = label_matrix(material.catalogue.frame[name]).toarray() > 0
    rows: list[Row] = []
    for keep, about in ((None, "posterior"), (1.0, "posterior, no drift")):
        after: dict[int, list[tuple[float, float, float]]] = {}
        for group in groups:
            space = fit_space(group.rest, material.catalogue, material.views)
            if keep is not None:
                space = replace(space, info=space.info.model_copy(update={"keep": keep}))
            ranker = PosteriorRanker(space)
            for first, second in _changes(group, labels):
                for count in range(9):
                    after.setdefault(count, []).append(_found_again(ranker, first, second, count))
        for count, values in after.items():
            changed, fresh, before = np.array(values).T
            rows.append(
                {
                    "policy": about,
                    "events of the new genre": count,
                    "histories": len(changed),
                    "NDCG@10 for what is left of the new genre": told_of(interval(changed)),
                    "had there been no old genre": told_of(interval(fresh)),
                    "share": told_of(ratio_interval(changed, fresh), 2),
                    "had nothing new been told": told_of(interval(before)),
                }
            )
    return rows


def _changes(group: Group, labels: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each user the ten first items of one genre, and those of another that are not of it, at least twenty.

    Of all such pairs of a user the one whose genres are found together least.
    """
    apart = (labels.T.astype(float) @ labels) / np.sqrt(np.outer(labels.sum(0), labels.sum(0)) + 1e-9)
    found = []
    for user in group.users.tolist():
        rows = group.log.items[group.log.of_user(user)].astype(np.int64)
        able = []
        for one in range(labels.shape[1]):
            for other in range(labels.shape[1]):
                first = rows[labels[rows, one] & ~labels[rows, other]]
                second = rows[labels[rows, other] & ~labels[rows, one]]
                if len(first) >= 10 and len(second) >= 20:
                    able.append((apart[one, other], one, other, first[:10], second))
        if able:
            least = min(able, key=lambda pair: pair[:3])
            found.append((least[3], least[4]))
    return found


def _found_again(
    ranker: PosteriorRanker, first: NDArray[np.int64], second: NDArray[np.int64], count: int
) -> tuple[float, float, float]:
    """NDCG for the new genre's items from the ninth on: told both, told the new ones alone, told the old ones alone."""
    targets = np.zeros((1, ranker.n_items), dtype=np.bool_)
    targets[0, second[8:]] = True
    allowed = np.ones_like(targets)
    allowed[0, np.concatenate([first, second[:8]])] = False
    figures = []
    for rows in (np.concatenate([first, second[:count]]), second[:count], first):
        history = from_log(rows, np.ones(len(rows)), None)
        figures.append(float(ndcg_of(ranker.scores(history)[None], targets, allowed)[0]))
    return figures[0], figures[1], figures[2]


# Exploration


def bandit(space: ItemSpace, users: int, rounds: int, seed: int) -> list[Row]:
    """Regret in a bandit over the space: tastes drawn from the prior, each item shown once, noise as learned."""
    rows: list[Row] = []
    vectors = space.said.astype(np.float64)
    results = {}
    for temperature in (None, 0.0, 0.05, 0.25, 1.0):
        regrets = np.empty((users, rounds))
        for user in range(users):
            rng = np.random.default_rng([seed, user])
            taste = Posterior.of(replace(space.prior, keep=1.0)).sample(rng)
            worth = vectors @ taste
            heard = worth + rng.standard_normal(len(worth)) * np.sqrt(space.noise)
            regrets[user] = _played(space, worth, heard, rounds, temperature, rng)
        results[temperature] = regrets.sum(axis=1)
        name = {None: "chance", 0.0: "greedy (temperature 0)"}.get(temperature, f"Thompson, temperature {temperature}")
        halves = regrets[:, : rounds // 2].sum(axis=1), regrets[:, rounds // 2 :].sum(axis=1)
        rows.append(
            {
                "policy": name,
                "users": users,
                "rounds": rounds,
                "regret": told_of(interval(results[temperature]), 2),
                "first half": told_of(interval(halves[0]), 2),
                "second half": told_of(interval(halves[1]), 2),
            }
        )
    for row, temperature in zip(rows, results, strict=True):
        less = compare(results[temperature], results[0.0])
        row["over greedy"] = "" if temperature == 0.0 else told_of(less.difference, 2)  # type: ignore[index]
    return rows


def _played(
    space: ItemSpace,
    worth: NDArray[np.float64],
    heard: NDArray[np.float64],
    rounds: int,
    temperature: float | None,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(rounds,): what the best item left would have been worth, less the one shown."""
    vectors, left = space.said.astype(np.float64), np.ones(len(worth), dtype=np.bool_)
    state = Posterior.of(replace(space.prior, keep=1.0))
    best_first = np.argsort(-worth)
    regrets = np.empty(rounds)
    for turn in range(rounds):
        scores = rng.random(len(worth)) if temperature is None else vectors @ state.sample(rng, temperature)
        row = int(np.argmax(np.where(left, scores, -np.inf)))
        regrets[turn] = worth[best_first[left[best_first]][0]] - worth[row]
        left[row] = False
        if temperature is not None:
            state = state.after(Observation(vectors[row], float(heard[row]), 1 / float(space.noise[row]), float(turn)))
    return regrets


# Speed and memory


def made_up(n_items: int, d: int, seed: int) -> ItemSpace:
    """A space of random faces: what they are changes nothing about the time."""
    rng = np.random.default_rng(seed)
    said, asked = (rng.normal(size=(n_items, d)).astype(np.float32) / np.float32(d) for _ in range(2))
    info = SpaceInfo(n_users=0, interactions=0, window=20, noise=1, keep=0.9, shrink=0, views={}, learned_on=0)
    return ItemSpace(said, asked, np.ones(n_items, dtype=np.float32), np.zeros(d), np.ones(d), info)


def speed(events: int, seed: int) -> list[Row]:
    """One event to the ten best of 10,000 items, d = 128, by a user with some events; and the states of 1,000 users."""
    space = made_up(10_000, 128, seed)
    ranker = PosteriorRanker(space)
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for before in (10, 100, 500):
        took, cpu = [], []
        for at in range(events):
            chosen = rng.permutation(space.n_items)[: before + 1]
            history = from_log(chosen, np.ones(before + 1), None)
            ranker.state(history.without(history.refs[-1:]), user=f"u{at % 50}")
            started, worked = time.perf_counter(), time.thread_time()
            scores = ranker.expected(ranker.state(history, user=f"u{at % 50}"))
            scores[chosen] = -np.inf
            np.argpartition(scores, -10)[-10:]
            took.append(1000 * (time.perf_counter() - started))
            cpu.append(1000 * (time.thread_time() - worked))
        rows.append(
            {
                "what": f"one event to the ten best of {space.n_items:,} items, d = {space.d}",
                "events before": before,
                "times": events,
                "median ms": round(float(np.median(took)), 2),
                "p99 ms": round(float(np.quantile(took, 0.99)), 2),
                "CPU median ms": round(float(np.median(cpu)), 2),
                "CPU p99 ms": round(float(np.quantile(cpu, 0.99)), 2),
            }
        )
    states = States(space.prior, capacity=1000)
    for user in range(1200):
        chosen = rng.permutation(space.n_items)[:20]
        states.state(f"m{user}", ranker.observations(from_log(chosen, np.ones(20), None)))
    rows.append({"what": f"states kept of 1,200 users: {len(states):,}", "MB": round(states.nbytes / 2**20, 1)})
    return rows


def told_of(one: Interval, digits: int = 4) -> str:
    return f"{one.mean:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def opened(given: argparse.Namespace, folder: Path) -> Material:
    workspace = given.workspace
    if workspace is None:
        workspace = folder / "workspace"
        data = Path(given.data) / "ml-100k-posters"
        left = ["--without", "sequence", "--without", "graph"]
        command = [sys.executable, "-m", "llm4rec", "build", "--data", str(data), "--workspace", str(workspace), *left]
        subprocess.run(command, check=True)
    return material_of(Workspace(workspace).open())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--groups", type=int, default=3)
    parser.add_argument("--fused", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["curve", "drift", "bandit", "speed"])
    parser.add_argument("--name", default="posterior-ml-100k-posters")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    seeds = {"groups, bandit and speed": given.seed}
    if "speed" in given.only:
        notes = [
            "wall-clock and CPU time of one thread; the state before the event is kept, as in use",
            "with more events before than the drift remembers, the history handed in is checked against what is kept",
        ]
        write(f"{given.name}-speed", speed(500, given.seed), notes, seeds)
    if set(given.only) == {"speed"}:
        return
    if given.data is None and given.workspace is None:
        print("skipped: name a folder of data sets, or set LLM4REC_DATA")
        return
    with tempfile.TemporaryDirectory() as folder:
        material = opened(given, Path(folder))
        assert material.log is not None
        groups = groups_of(material.log, given.groups, given.seed)
        if "curve" in given.only:
            notes = [
                f"{sum(len(group.users) for group in groups)} users in {len(groups)} groups, each held out entirely "
                "from its fit; 95 % bootstrap intervals over users",
                f"targets: what each did after the first {EARLY} events; candidates: all items but those {EARLY}",
                "refitted: from scratch, with the told events in the log; the share is of its gain over popularity, on "
                "the same users",
                "views: " + ", ".join([*material.views, "graph" if material.catalogue else ""]),
                f"fused, in {given.fused} of the groups, is without the transformer; it reads the told events",
            ]
            write(given.name, curve(material, groups, given.fused), notes, seeds)
        if "drift" in given.only:
            notes = [
                "held-out users with ten items of one genre and twenty of another that seldom go together",
                "told: the ten, then so many of the other; targets: the other's items from the ninth on",
            ]
            write(f"{given.name}-drift", drift(material, groups), notes, seeds)
        if "bandit" in given.only:
            space = fit_space(groups[0].rest, material.catalogue, material.views)
            notes = [
                "a simulation: tastes drawn from the learned prior, worth and noise of an item as in the learned "
                "space; each round shows one item not shown yet; regret against the best left, in the space's units",
            ]
            write(f"{given.name}-bandit", bandit(space, 60, 100, given.seed), notes, seeds)


if __name__ == "__main__":
    main()
