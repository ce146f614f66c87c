"""Titles and texts matched by their words, against the formulas written plainly."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog import words as module
from llm4rec.catalog.titles import TitleIndex
from llm4rec.catalog.words import WordIndex, build_words, open_words
from llm4rec.errors import UserError
from numpy.typing import NDArray

TITLES = [
    "Heat (1995)",
    "Red Heat",
    "Toy Story (1995)",
    "The Godfather (1972)",
    "The Godfather: Part II (1974)",
    "Été (Summer) (1996)",
    "(500)",
    "Heat",
]


def titles(text: str, least: float = 0.65, mask: NDArray[np.bool_] | None = None) -> list[str]:
    rows, scores = TitleIndex(TITLES).nearest(text, 5, mask, least)
    assert ((least <= scores) & (scores <= 1)).all()
    assert (np.diff(scores) <= 0).all()
    return [TITLES[row] for row in rows]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("heat", ["Heat (1995)", "Heat"]),
        ("HEAT 1995", ["Heat (1995)"]),
        ("toy stroy", ["Toy Story (1995)"]),
        ("toyy storry", ["Toy Story (1995)"]),
        ("goodfather prat ii teh", []),  # too many misspellings
        ("godfather", ["The Godfather (1972)"]),
        ("the godfather part ii", ["The Godfather: Part II (1974)"]),
        ("ete", ["Été (Summer) (1996)"]),
        ("500", ["(500)"]),
        ("something with a bit of heat in it", []),
        ("xyzzy", []),
        ("?!", []),
        ("", []),
    ],
)
def test_titles(text: str, first: list[str]) -> None:
    assert titles(text)[: len(first)] == first
    assert bool(first) == bool(titles(text))


def test_titles_respect_the_mask() -> None:
    assert titles("heat", mask=np.arange(len(TITLES)) != 0)[0] == "Heat"


def test_no_titles() -> None:
    assert TitleIndex([]).nearest("heat", 5, None, 0.5)[0].tolist() == []


@given(st.sampled_from(TITLES))
def test_every_title_finds_itself(title: str) -> None:
    assert title in titles(title)


# -- BM25 -------------------------------------------------------------------------------------------------------------

VOCABULARY = ["sea", "ship", "whale", "the", "Ahab", "a-b"]
texts = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join), min_size=1, max_size=8)


def bm25(documents: list[str], query: str) -> tuple[list[float], list[float]]:
    """Robertson & Zaragoza 2009, equation 3.15, with the idf kept above zero; and the share of idf covered."""
    bags = [Counter(document.lower().replace("-", " ").split()) for document in documents]
    mean = sum(bag.total() for bag in bags) / len(bags) or 1.0
    scores, shares = [], []
    words = sorted(set(query.lower().replace("-", " ").split()))
    idf = {w: math.log(1 + (len(bags) - n + 0.5) / (n + 0.5)) for w in words for n in [sum(w in bag for bag in bags)]}
    for bag in bags:
        norm = 1.2 * (0.25 + 0.75 * bag.total() / mean)
        scores.append(sum(idf[w] * bag[w] * 2.2 / (bag[w] + norm) for w in words))
        shares.append(sum(idf[w] for w in words if w in bag) / sum(idf.values()))
    return scores, shares


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(texts, st.lists(st.sampled_from([*VOCABULARY, "unheard"]), min_size=1, max_size=4).map(" ".join), st.data())
def test_words_are_ranked_by_bm25(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], query: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("words") / "w"
    build_words(folder, documents)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents))))
    rows, shares = open_words(folder).nearest(query, 3, mask)
    scores, covered = bm25(documents, query)
    expected = sorted((round(-score, 4), row) for row, score in enumerate(scores) if score > 0 and mask[row])[:3]
    assert [round(-scores[row], 4) for row in rows] == [score for score, _ in expected]
    np.testing.assert_allclose(shares, [covered[row] for row in rows], rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(texts, st.data())
def test_live_texts_score_as_built_ones(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], data: st.DataObject
) -> None:
    # Laying the very texts over their rows must change nothing.
    folder = tmp_path_factory.mktemp("words") / "w"
    build_words(folder, documents)
    index = open_words(folder)
    rows = data.draw(st.lists(st.integers(0, len(documents) - 1), unique=True))
    live = index.overlaid(np.array(rows, dtype=np.int64), [documents[row] for row in rows], len(documents))
    for word in VOCABULARY:
        found, shares = index.nearest(word, 9)
        again, same = live.nearest(word, 9)
        assert sorted(found) == sorted(again)
        np.testing.assert_allclose(sorted(shares), sorted(same))


def small(folder: Path) -> WordIndex:
    build_words(folder / "w", ["the whale", "the ship", "the sea"])
    return open_words(folder / "w")


def test_common_words_are_left_out_where_they_would_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = small(tmp_path)
    assert sorted(index.nearest("the whale", 9)[0]) == [0, 1, 2]
    monkeypatch.setattr(module, "_MOST_ENTRIES", 2)
    assert index.nearest("the whale", 9)[0].tolist() == [0]
    assert sorted(index.nearest("the", 9)[0]) == [0, 1, 2]  # but not when there is nothing else


def test_texts_without_words(tmp_path: Path) -> None:
    build_words(tmp_path / "w", ["", "!!"])
    assert open_words(tmp_path / "w").nearest("anything", 3)[0].tolist() == []


def test_progress_and_replacement(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    build_words(tmp_path / "w", ["x"] * 2500, lambda done, total: told.append((done, total)))
    assert told == [(1000, 2500), (2000, 2500), (2500, 2500)]
    build_words(tmp_path / "w", ["y"])
    assert len(open_words(tmp_path / "w")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        open_words(tmp_path / "w")
    small(tmp_path)
    manifest = json.loads((tmp_path / "w" / "manifest.json").read_text())
    (tmp_path / "w" / "manifest.json").write_text(json.dumps({**manifest, "words": 7}))
    with pytest.raises(UserError, match="damaged"):
        open_words(tmp_path / "w")
    small(tmp_path)
    (tmp_path / "w" / "rows.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        open_words(tmp_path / "w")


def test_overlaid_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="live texts"):
        small(tmp_path).overlaid(np.array([0]), [], 3)
