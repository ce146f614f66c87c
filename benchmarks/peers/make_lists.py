"""Ranked lists by other frameworks, from the folds that ``llm4rec replay --export`` wrote. Imports nothing of llm4rec.

    python make_lists.py --validation FOLDS/loo-validation --test FOLDS/loo-test --out LISTS
                         [--models lenskit-itemknn ...] [--seeds 5] [--length 20] [--minutes 15] [--resume]

Each model is fitted on the train log of the validation fold with every setting of a small grid, or as many as fit into
``--minutes`` of CPU time; the setting with the highest NDCG@10 on the validation targets is fitted on the train log of
the test fold, whose targets are never read. Lists are ``LISTS/<model>.parquet`` (user, item, score, seed); what was
tried is in ``LISTS/<model>.json``. A model that raises is named there with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Items up to which a dense item-item matrix is made: beyond, it takes more memory than a small machine has.
DENSE = 20_000
K = 10

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Fold:
    """A fold as exported.

    Attributes:
        train: user, item, order; a user's first event first.
        users: who is asked about.
        items: all items, in the order that decides ties.
    """

    train: pd.DataFrame
    users: list[str]
    items: list[str]


@dataclass(frozen=True)
class Peer:
    """A model of a framework.

    Attributes:
        fit: gives lists (user, item, score; best first) from a fold, settings, a seed and the length of the lists; or
            several, each with the settings that it is for in place of those given.
        grid: values of each setting.
        random: it depends on the seed.
        dense: it needs a dense item-item matrix.
    """

    fit: Callable[[Fold, Settings, int, int], pd.DataFrame | Sequence[tuple[Settings, pd.DataFrame]]]
    grid: Mapping[str, Sequence[Any]]
    random: bool = False
    dense: bool = False


def read_fold(path: Path) -> Fold:
    """A fold of an export.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    items = pd.read_parquet(path / "items.parquet")
    return Fold(
        train=pd.read_parquet(path / "train.parquet"),
        users=pd.read_parquet(path / "queries.parquet")["user"].tolist(),
        items=items["item"][items["candidate"]].tolist(),
    )


def ndcg(lists: pd.DataFrame, targets: pd.DataFrame, users: int) -> float:
    """NDCG@10 with one target a user; who has no list counts 0."""
    best = lists.groupby("user", sort=False).head(K)
    place = best.groupby("user", sort=False).cumcount().to_numpy()
    found = best.assign(gain=1 / np.log2(place + 2)).merge(targets, on=["user", "item"])
    return float(found["gain"].sum()) / users


# implicit


def _matrix(fold: Fold) -> tuple[Any, pd.Index, pd.Index]:
    from scipy.sparse import csr_matrix

    users, items = pd.Index(fold.train["user"].unique()), pd.Index(fold.items)
    at = (users.get_indexer(fold.train["user"]), items.get_indexer(fold.train["item"]))
    return csr_matrix((np.ones(len(fold.train), np.float32), at), (len(users), len(items))), users, items


def _implicit_lists(model: Any, fold: Fold, length: int) -> pd.DataFrame:
    matrix, users, items = _matrix(fold)
    model.fit(matrix, show_progress=False)
    asked = users.get_indexer(fold.users)
    known = asked[asked >= 0]
    rows, scores = model.recommend(known, matrix[known], N=length)  # leaves out what the user has
    frame = pd.DataFrame(
        {
            "user": np.repeat(users[known], rows.shape[1]),
            "item": items[rows.ravel()],
            "score": scores.ravel().astype(np.float64),
        }
    )
    # What had to be left out of a user with nearly everything fills the end with the lowest number there is.
    return frame[frame["score"] > np.finfo(np.float32).min]


def implicit_als(fold: Fold, settings: Settings, seed: int, length: int) -> pd.DataFrame:
    from implicit.cpu.als import AlternatingLeastSquares

    return _implicit_lists(AlternatingLeastSquares(**settings, num_threads=1, random_state=seed), fold, length)


def implicit_bpr(fold: Fold, settings: Settings, seed: int, length: int) -> pd.DataFrame:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    return _implicit_lists(BayesianPersonalizedRanking(**settings, num_threads=1, random_state=seed), fold, length)


# LensKit


def _lenskit(component: str, **fixed: Any) -> Callable[[Fold, Settings, int, int], pd.DataFrame]:
    def fit(fold: Fold, settings: Settings, seed: int, length: int) -> pd.DataFrame:
        import importlib

        from lenskit import batch
        from lenskit.data import DatasetBuilder
        from lenskit.pipeline import topn_pipeline
        from lenskit.training import TrainingOptions

        module, _, name = component.rpartition(".")
        scorer = getattr(importlib.import_module(module), name)(**fixed, **settings)
        build = DatasetBuilder()
        build.add_entities("item", fold.items)
        build.add_interactions(
            "rating",
            fold.train[["user", "item"]].rename(columns={"user": "user_id", "item": "item_id"}),
            entities=["user", "item"],
            missing="insert",
            default=True,
        )
        pipeline = topn_pipeline(scorer, n=length)
        pipeline.train(build.build(), TrainingOptions(rng=seed))
        found = batch.recommend(pipeline, fold.users, n_jobs=1).to_df()
        return found.rename(columns={"user_id": "user", "item_id": "item"})[["user", "item", "score"]]

    return fit


# RePlay


def replay_sasrec(fold: Fold, settings: Settings, seed: int, length: int) -> Sequence[tuple[Settings, pd.DataFrame]]:
    from sasrec import sasrec

    return sasrec(fold, settings, seed, length)


PEERS: Mapping[str, Peer] = {
    "implicit-als": Peer(
        implicit_als,
        {
            "factors": [32, 64, 128, 256],
            "alpha": [2.0, 5.0, 20.0],
            "regularization": [0.1, 1.0, 10.0, 50.0],
            "iterations": [15],
        },
        random=True,
    ),
    "implicit-bpr": Peer(
        implicit_bpr,
        {
            "factors": [64, 128],
            "learning_rate": [0.01, 0.03, 0.1],
            "regularization": [0.01, 0.03],
            "iterations": [100, 200],
        },
        random=True,
    ),
    "lenskit-itemknn": Peer(_lenskit("lenskit.knn.ItemKNNScorer", feedback="implicit"), {"max_nbrs": [20, 50, 100]}),
    "lenskit-userknn": Peer(_lenskit("lenskit.knn.UserKNNScorer", feedback="implicit"), {"max_nbrs": [20, 50, 100]}),
    "lenskit-ease": Peer(
        _lenskit("lenskit.knn.EASEScorer"), {"regularization": [10.0, 50.0, 100.0, 200.0, 400.0, 1000.0]}, dense=True
    ),
    "lenskit-slim": Peer(_lenskit("lenskit.knn.SLIMScorer"), {"l1_reg": [0.1, 1.0, 5.0], "l2_reg": [1.0, 10.0, 100.0]}),
    "lenskit-implicitmf": Peer(
        _lenskit("lenskit.als.ImplicitMFScorer"),
        {"embedding_size": [32, 64, 128], "weight": [1.0, 5.0, 40.0], "regularization": [0.1, 1.0, 10.0]},
        random=True,
    ),
    "replay-sasrec": Peer(
        replay_sasrec,
        {
            "max_seq_len": [100],
            "hidden_size": [64],
            "dropout_rate": [0.3, 0.5],
            "learning_rate": [0.001],
            "epochs": [[20, 40, 60, 80, 100]],
        },
        random=True,
    ),
}


def answered(
    peer: Peer, fold: Fold, settings: Settings, seed: int, length: int
) -> Sequence[tuple[Settings, pd.DataFrame]]:
    found = peer.fit(fold, settings, seed, length)
    return [({}, found)] if isinstance(found, pd.DataFrame) else found


def run_peer(name: str, validation: Path, test: Path, out: Path, *, seeds: int, length: int, minutes: float) -> None:
    """Choose a model's setting on validation, write its lists of the test fold and what was tried."""
    peer, told = PEERS[name], {"model": name}
    tuned, asked = read_fold(validation), read_fold(test)
    if peer.dense and len(asked.items) > DENSE:
        told["error"] = f"not run: a dense matrix of {len(asked.items):,} x {len(asked.items):,} items"
        (out / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
        return
    targets = pd.read_parquet(validation / "held-out" / "targets.parquet")
    grid = [dict(zip(peer.grid, values, strict=True)) for values in itertools.product(*peer.grid.values())]
    np.random.default_rng(0).shuffle(grid)  # where time runs out, what was tried is a random part of the grid
    tried = []
    started = time.process_time()
    for settings in grid:
        if tried and time.process_time() - started > 60 * minutes:
            break
        began = time.process_time()
        for instead, lists in answered(peer, tuned, settings, 0, length):
            found = round(ndcg(lists, targets, len(tuned.users)), 5)
            seconds = round(time.process_time() - began, 1)
            tried.append({**settings, **instead, "ndcg@10": found, "CPU seconds": seconds})
            print(f"{name} {dict(settings, **instead)}: NDCG@10 {found:.4f}, {seconds} CPU s", flush=True)
    best = max(tried, key=lambda one: one["ndcg@10"])
    chosen = {setting: best[setting] for setting in peer.grid}
    parts, took = [], []
    for seed in range(seeds if peer.random else 1):
        began = time.process_time()
        parts += [lists.assign(seed=seed) for _, lists in answered(peer, asked, chosen, seed, length)]
        took.append(round(time.process_time() - began, 1))
    lists = pd.concat(parts, ignore_index=True)
    (lists if peer.random else lists.drop(columns="seed")).to_parquet(out / f"{name}.parquet", index=False)
    told |= {
        "chosen": chosen, "validation ndcg@10": best["ndcg@10"], "tried": tried, "of grid": len(grid),
        "fit and list CPU seconds": took,
    }  # fmt: skip
    (out / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=15, help="of CPU time, for the choice of a model's settings")
    parser.add_argument("--resume", action="store_true", help="leave alone models whose result is there already")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.models:
        before = given.out / f"{name}.json"
        if given.resume and before.exists() and "chosen" in json.loads(before.read_text()):
            continue
        try:
            run_peer(
                name, given.validation, given.test, given.out,
                seeds=given.seeds, length=given.length, minutes=given.minutes,
            )  # fmt: skip
        except Exception as error:  # a framework is outside code: what it raises is noted, and the others go on
            traceback.print_exc()
            said = {"model": name, "error": f"{type(error).__name__}: {error}"}
            (given.out / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
