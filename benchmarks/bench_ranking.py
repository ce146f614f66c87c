"""Measures the rankers: quality on real logs, time to fit, to load and to score, and the memory of a fit at full size.

    python benchmarks/bench_ranking.py DATA [--sets ml-100k-posters amazon-office yelp] [--users 3000] [--cache FILE]
                                 [--large] [--seed 5]

DATA holds the sets' folders. Leave one out by time: each user's last event is the test, the last but one the validation
(the last then left out altogether); models are fitted on what comes before, every item is ranked but those the user
has had. ``--large`` also fits the truncated EASE on a generated log of 25 million ratings.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from generate_log import generate
from llm4rec.catalog.embedding_cache import EmbeddingCache, embed_images, embed_texts
from llm4rec.catalog.encoders import load_image_encoder, load_text_encoder
from llm4rec.catalog.interactions import Interactions, write_interactions
from llm4rec.catalog.readers import RawData, read
from llm4rec.catalog.views import item_text
from llm4rec.ranking.blend import BlendRanker
from llm4rec.ranking.ease import EaseRanker, fit_ease
from llm4rec.ranking.history import History, from_log
from llm4rec.ranking.models import ItemView, fit, load
from llm4rec.ranking.popularity import PopularityRanker
from numpy.typing import NDArray
from report import Row, write

SETS = ("ml-100k-posters", "amazon-office", "yelp")
LATENCY_USERS = 200
RESAMPLES = 2000
Scores = Callable[[History], NDArray[np.float32]]


@dataclass(frozen=True)
class Split:
    """One set, cut at one place: what models may see, and what they must foretell."""

    matrix: sp.csr_matrix
    histories: list[History]
    targets: NDArray[np.int64]


def split(log: Interactions, left_out: int, most: int, seed: int) -> Split:
    """Leave each user's last ``left_out`` events out and ask for the first of these, of at most ``most`` users."""
    users = [log.of_user(user) for user in log.user_ids]
    kept = [rows.items[: max(0, len(rows) - left_out)] for rows in users]
    matrix = sp.csr_matrix(
        (
            np.ones(sum(map(len, kept)), dtype=np.float32),
            np.concatenate(kept),
            np.concatenate([[0], np.cumsum([len(items) for items in kept])]),
        ),
        shape=(log.n_users, log.n_items),
    )
    asked = np.array([at for at, items in enumerate(kept) if len(items)])
    if len(asked) > most:
        asked = np.sort(np.random.default_rng(seed).choice(asked, most, replace=False))
    return Split(
        matrix=matrix,
        histories=[from_log(kept[at], users[at].values[: len(kept[at])], log.scale) for at in asked],
        targets=np.array([users[at].items[len(kept[at])] for at in asked]),
    )


def gains(
    scores: Scores, histories: Sequence[History], seen: Sequence[History], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(2, users): NDCG@10 and HR@10 of the one right item among all but the seen; ties go to the smaller row."""
    found = np.zeros((2, len(targets)))
    for at, (history, before, target) in enumerate(zip(histories, seen, targets, strict=True)):
        values = scores(history).copy()
        values[before.rows] = -np.inf
        rank = int((values > values[target]).sum() + (values[:target] == values[target]).sum())
        if rank < 10:
            found[:, at] = 1 / np.log2(rank + 2), 1
    return found


def interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95 % of the mean, by bootstrap over users (percentiles)."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def views(raw: RawData, data: Path, cache: EmbeddingCache | None) -> dict[str, ItemView]:
    made = {"text": ItemView(embed_texts(load_text_encoder(), [item_text(item) for item in raw.catalogue], cache))}
    if raw.images:
        sources = [raw.images.get(item_id) for item_id in raw.catalogue.ids]
        made["image"] = ItemView(embed_images(load_image_encoder(), sources, cache).vectors)
    return made


def quality(
    name: str, log: Interactions, seen_by: dict[str, ItemView], most: int, seed: int, folder: Path
) -> list[Row]:
    rows: list[Row] = []
    for part, left_out in (("validation", 2), ("test", 1)):
        cut = split(log, left_out, most, seed)
        started, busy = time.perf_counter(), time.process_time()
        metadata = fit(cut.matrix, folder / part)
        fitted = {"fit s": time.perf_counter() - started, "fit cpu s": time.process_time() - busy}
        started = time.perf_counter()
        blend = load(folder / part, views=seen_by)
        loaded = time.perf_counter() - started
        assert isinstance(blend.behaviour, EaseRanker)
        form, rank = metadata["ease"]["form"], metadata["ease"]["rank"]
        ease = f"EASE ({form}{f', rank {rank}' if rank else ''})"
        rankers: dict[str, Scores] = {"popularity": blend.popularity.scores}
        rankers |= {view.name: view.scores for view in blend.content}
        rankers["content and popularity"] = BlendRanker(blend.popularity, None, blend.content, blend.config).scores
        rankers[f"{ease}, no recency"] = EaseRanker(blend.behaviour.model, tau=float("inf")).scores
        rankers[ease] = blend.behaviour.scores
        rankers["blend"] = blend.scores
        for known, histories in (
            ("all", cut.histories),
            ("latest event", [history.last(1) for history in cut.histories]),
        ):
            alone = gains(rankers[ease], histories, cut.histories, cut.targets)
            for label, scores in rankers.items():
                if known == "latest event" and "no recency" in label:
                    continue
                found = gains(scores, histories, cut.histories, cut.targets)
                low, high = interval(found[0], seed)
                row: dict[str, str | float | int] = {
                    "set": name,
                    "part": part,
                    "history": known,
                    "ranker": label,
                    "users": len(cut.targets),
                    "NDCG@10": round(float(found[0].mean()), 4),
                    "95 %": f"{low:.4f} to {high:.4f}",
                    "HR@10": round(float(found[1].mean()), 4),
                }
                if label == "blend":
                    less, more = interval(found[0] - alone[0], seed)
                    row["NDCG@10 less EASE"] = f"{(found[0] - alone[0]).mean():+.4f} ({less:+.4f} to {more:+.4f})"
                    if known == "all":
                        row |= {what: round(seconds, 1) for what, seconds in fitted.items()}
                        row |= {"load s": round(loaded, 2), **latency(blend, cut.histories)}
                rows.append(row)
                print(row, flush=True)
    return rows


def latency(blend: BlendRanker, histories: Sequence[History]) -> dict[str, float]:
    taken = []
    for history in histories[:LATENCY_USERS]:
        started = time.perf_counter()
        blend.recommend(history, k=10)
        taken.append(1000 * (time.perf_counter() - started))
    return {"10 best, ms p50": round(float(np.median(taken)), 1), "p95": round(float(np.percentile(taken, 95)), 1)}


def large(seed: int) -> list[Row]:
    """The truncated form at the size of MovieLens 25M, in a process of its own to see its memory."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), 25_000_000, 162_541, 59_047, seed)
        frame = pl.read_csv(Path(folder) / "ratings.csv", columns=["userId", "movieId"])
        users, items = (frame[name].rank("dense").to_numpy() - 1 for name in ("userId", "movieId"))
        np.savez(Path(folder) / "log.npz", users=users.astype(np.int32), items=items.astype(np.int32))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return [pool.apply(fit_large, (folder,))]


def fit_large(folder: str) -> Row:
    with np.load(Path(folder) / "log.npz") as log:
        matrix = sp.csr_matrix((np.ones(len(log["users"]), dtype=np.float32), (log["users"], log["items"])))
    started, busy = time.perf_counter(), time.process_time()
    model = fit_ease(matrix)
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    blend = BlendRanker(PopularityRanker(np.zeros(matrix.shape[1], dtype=np.float32)), EaseRanker(model))
    histories = [from_log(matrix[user].indices, np.ones(matrix[user].nnz), None) for user in range(50)]
    return {
        "set": f"generated: {matrix.shape[0]:,} users, {matrix.shape[1]:,} items, {matrix.nnz:,} ratings",
        "ranker": f"EASE ({model.form}, rank {model.rank})",
        "fit s": round(wall, 1),
        "fit cpu s": round(cpu, 1),
        "peak memory GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        **latency(blend, histories),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--cache", type=Path, help="embeddings are kept here")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    if asked.data is None:
        print("skipped: name the folder of the data sets, or set LLM4REC_DATA")
        return
    rows: list[Row] = []
    for name in asked.sets:
        raw = read(asked.data / name)
        with tempfile.TemporaryDirectory() as folder:
            log = write_interactions(raw, Path(folder), raw.catalogue)
            cache = EmbeddingCache(asked.cache) if asked.cache else None
            rows += quality(name, log, views(raw, asked.data, cache), asked.users, asked.seed, Path(folder))
            if cache:
                cache.close()
    if asked.large:
        rows += large(asked.seed)
    write(
        "ranking",
        rows,
        [
            "Leave one out by time, full ranking, items the user has had removed; the test is each user's last event, "
            "the validation the last but one.",
            f"At most {asked.users} users of a set are asked, drawn at random; models are fitted on all.",
            "History 'latest event': the ranker is told one event of the user and no more.",
            "Intervals: 95 %, bootstrap over users; the difference is paired. The weights of the blend were chosen on "
            "the validation of ml-100k (and checked against amazon-office's): only tests are tests.",
            "Times are of a machine that other work may have shared: see its load and compare with the CPU seconds.",
        ],
        {"users and bootstrap": asked.seed},
    )


if __name__ == "__main__":
    main()
