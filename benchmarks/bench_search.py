"""Measures search: building a view, latency and recall of each kind of query, on generated vectors.

    python benchmarks/bench_search.py [--sizes 1000 10000 100000] [--queries 300]

The vectors imitate sentence embeddings: a common direction, forty topics of low intrinsic dimension, clusters of very
uneven size within them. Half of the queries lie near items, half between two clusters, which is hard for a graph index
and is what a request like "a funny western" does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from llm4rec.catalog.encoders import TextEncoder, load_text_encoder
from llm4rec.catalog.filters import Filter, mask
from llm4rec.catalog.index import ViewIndex, build_view, open_view
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.search import Query, Searcher
from llm4rec.catalog.views import item_text
from llm4rec.catalog.words import build_words, open_words
from numpy.typing import NDArray
from report import Row, write

SEED = 11
D = 384
TOPICS = 40
WARM_UP = 10
#: Items nearest to the query that the user has seen: the worst place for holes.
SEEN = 50
QUESTIONS = ("a slow film about the sea", "something light with music", "a detective story in the snow", "robots")


@dataclass(frozen=True)
class Data:
    """Generated items: unit vectors, their topics, and unit queries."""

    vectors: NDArray[np.float32]
    topics: NDArray[np.int64]
    queries: NDArray[np.float32]


def generate(n: int, n_queries: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    clusters = max(2 * TOPICS, n // 100)
    topic_of = rng.integers(TOPICS, size=clusters)
    centres = rng.normal(size=(TOPICS, D))[topic_of] + 0.8 * rng.normal(size=(clusters, D))
    share = rng.pareto(1.2, clusters) + 1
    common = 0.5 * rng.normal(size=D)
    spread = rng.normal(size=(TOPICS, 24, D)) / np.sqrt(24)

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        cluster = rng.choice(clusters, count, p=share / share.sum())
        topic = topic_of[cluster]
        vectors = common + centres[cluster] + 0.35 * rng.normal(size=(count, D))
        inner = rng.normal(size=(count, 24))
        for one in range(TOPICS):
            vectors[topic == one] += 0.9 * inner[topic == one] @ spread[one]
        return vectors, topic

    vectors, topics = draw(n)
    near = n_queries // 2
    queries = np.concatenate([draw(near)[0], (draw(n_queries - near)[0] + draw(n_queries - near)[0]) / 2])
    return Data(_unit(vectors), topics, _unit(queries))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def catalogue(data: Data, seed: int) -> Catalogue:
    """Items with a random number from 0 to 99 and their topic, to filter by, and texts of Zipf-distributed words."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{number}" for number in range(30_000)], dtype=object)
    asked = list(dict.fromkeys(word for question in QUESTIONS for word in question.split()))
    vocabulary[50 : 50 * len(asked) + 50 : 50] = asked  # so that questions find words, common and rare
    chance = 1 / (np.arange(len(vocabulary)) + 3.0)
    words = vocabulary[rng.choice(len(vocabulary), size=(len(data.vectors), 60), p=chance / chance.sum())]
    draws = rng.integers(100, size=len(data.vectors))
    return Catalogue.of(
        [
            Item(
                str(row),
                " ".join(words[row, :3]),
                " ".join(words[row, 3:]),
                attributes={"draw": float(draws[row]), "topic": f"t{data.topics[row]}"},
            )
            for row in range(len(data.vectors))
        ]
    )


class Given:
    """Encodes for real, so that the time counts, and answers with the generated query."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.model_id = encoder.model_id
        self.dimension = D
        self.answer = np.zeros(D, dtype=np.float32)
        self.spent = 0.0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        started = time.perf_counter()
        self._encoder.encode(texts)
        self.spent = 1e3 * (time.perf_counter() - started)
        return self.answer[np.newaxis]


def recalls(
    view: ViewIndex, data: Data, masks: Callable[[int], NDArray[np.bool_] | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall@10 of each query against exact search, and milliseconds. Equally similar items count as right."""
    similarities = data.queries @ data.vectors.T  # before, so that it does not disturb what is timed
    found, spent = [], []
    for number, query in enumerate(data.queries):
        allowed = masks(number)
        started = time.perf_counter()
        _, values = view.nearest(query, 10, allowed)
        spent.append(1e3 * (time.perf_counter() - started))
        best = np.sort(similarities[number] if allowed is None else similarities[number][allowed])[-10:]
        found.append(np.count_nonzero(values >= best[0] - 1e-5) / len(best) if len(best) else 1.0)
    return np.array(found), np.array(spent[WARM_UP:])


def interval(values: NDArray[np.float64], seed: int) -> str:
    """Mean and 95 % bootstrap interval over the queries."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def measure(n: int, n_queries: int, encoder: TextEncoder, folder: Path) -> list[Row]:
    data = generate(n, n_queries, SEED)
    items = catalogue(data, SEED + 1)
    started = time.perf_counter()
    build_view(folder, "text", data.vectors, encoder.model_id)
    built = time.perf_counter() - started
    started = time.perf_counter()
    build_words(folder / "words", [item_text(item) for item in items])
    built_words = time.perf_counter() - started
    view, words = open_view(folder, "text", encoder.model_id), open_words(folder / "words")
    given = Given(encoder)
    searcher = Searcher(items, {"text": view}, given, words=words)
    seen = [np.argsort(-(data.vectors @ query))[:SEEN] for query in data.queries]
    frequent = np.argsort(-np.bincount(data.topics, minlength=TOPICS))
    cases: list[tuple[str, tuple[Filter, ...]]] = [
        ("no filter", ()),
        ("50 % pass", (Filter(attribute="draw", op="at_most", value=49),)),
        ("10 % pass", (Filter(attribute="draw", op="at_most", value=9),)),
        ("1 % pass", (Filter(attribute="draw", op="at_most", value=0),)),
        ("one topic passes", (Filter(attribute="topic", op="is", value=f"t{frequent[0]}"),)),
        ("all but one topic", (Filter(attribute="topic", op="is_not", value=f"t{frequent[0]}"),)),
        (f"the nearest {SEEN} seen", ()),
    ]
    rows: list[Row] = []
    for name, filters in cases:
        excluding = "seen" in name

        def allowed(
            number: int, filters: tuple[Filter, ...] = filters, excluding: bool = excluding
        ) -> NDArray[np.bool_] | None:
            if not filters and not excluding:
                return None
            passing = mask(items, filters)
            if excluding:
                passing[seen[number]] = False
            return passing

        recall, nearest = recalls(view, data, allowed)
        spent, encoding = [], []
        for number, query in enumerate(data.queries):
            given.answer = query
            exclude = frozenset(items.ids[row] for row in seen[number]) if excluding else frozenset()
            asked = Query(text=QUESTIONS[number % len(QUESTIONS)], filters=filters, exclude=exclude, k=10)
            started = time.perf_counter()
            searcher.search(asked)
            spent.append(1e3 * (time.perf_counter() - started))
            encoding.append(given.spent)
        rest = np.array(spent) - np.array(encoding)
        row: dict[str, str | float | int] = {
            "items": n,
            "case": name,
            "recall@10": interval(recall, SEED),
            "view p50 ms": round(float(np.percentile(nearest, 50)), 2),
            "view p95 ms": round(float(np.percentile(nearest, 95)), 2),
            "search p50 ms": round(float(np.percentile(spent[WARM_UP:], 50)), 1),
            "search p95 ms": round(float(np.percentile(spent[WARM_UP:], 95)), 1),
            "without encoding p50 ms": round(float(np.percentile(rest[WARM_UP:], 50)), 1),
            "without encoding p95 ms": round(float(np.percentile(rest[WARM_UP:], 95)), 1),
        }
        if not rows:
            row |= {"view built in s": round(built, 1), "words built in s": round(built_words, 1)}
        rows.append(row)
        print(row, flush=True)
    view.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure search on generated vectors.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--queries", type=int, default=300)
    given = parser.parse_args()
    encoder = load_text_encoder()
    encoding = []
    for number in range(60):
        started = time.perf_counter()
        encoder.encode([QUESTIONS[number % len(QUESTIONS)]])
        encoding.append(1e3 * (time.perf_counter() - started))
    p50, p95 = np.percentile(encoding[WARM_UP:], [50, 95])
    rows: list[Row] = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.extend(measure(size, given.queries, encoder, Path(folder)))
    target = write(
        "search",
        rows,
        [
            f"{given.queries} queries a row over generated vectors of {D} dimensions in clusters of uneven size; half "
            "of the queries near items, half between two clusters.",
            "view: the 10 nearest of one view, its mask included. search: a whole search by words for 10 items, that "
            "is encoding of the words, text view, word index, titles and filters; without encoding: less the first of "
            f"these. Encoding alone, over and over: p50 {p50:.1f} ms, p95 {p95:.1f} ms. The first {WARM_UP} queries of "
            "each row warm up and are not counted.",
            "recall@10: share of the 10 nearest found, with its 95 % bootstrap interval, against exact search under "
            "the same mask.",
            "A topic passes or not as a whole, so that a query's own surroundings may be masked out.",
        ],
        {"vectors and queries": SEED, "texts and filter values": SEED + 1, "bootstrap": SEED},
    )
    print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
