"""``items add|update|remove|restore``: what changes is searchable, rankable or gone at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from llm4rec.agent.live import change_items, set_availability
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from PIL import Image


def lines(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


KAYAK = {
    "id": "k1",
    "title": "River kayak",
    "description": "an inflatable kayak for rivers and lakes",
    "attributes": {"brand": "Paddle", "price": 300.0, "categories": ["Outdoor"]},
}


def test_an_added_item_is_found_and_ranked(recommender: Recommender, shop: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "kayak.png")
    before = recommender.search("paddling a boat on a river").cards
    assert "k1" not in {card.id for card in before}
    change_items(shop, lines(tmp_path / "new.jsonl", {**KAYAK, "image": "kayak.png"}), mode="add")
    # the same open recommender sees it
    assert recommender.search("paddling a boat on a river").cards[0].id == "k1"
    recommender.feedback("new", "like", "k1")
    assert recommender.explain("new", "k1").cards[0].claims
    assert "k1" in {c.id for c in recommender.recommend("fresh", k=50).cards} | {
        c.id for c in recommender.search("kayak", k=50).cards
    }


def test_varied_lists_read_the_vectors_of_live_items(recommender: Recommender, shop: Path, tmp_path: Path) -> None:
    kits = [{**KAYAK, "id": f"k{n}", "title": f"River kayak {n}"} for n in range(3)]
    change_items(shop, lines(tmp_path / "new.jsonl", *kits), mode="add")
    change_items(shop, lines(tmp_path / "old.jsonl", {**KAYAK, "id": "p3"}), mode="update")
    knowledge = recommender.knowledge
    assert knowledge.ranker.items is not None
    view = knowledge.ranker.items.views[0]
    rows = np.arange(len(knowledge.catalogue))
    text = knowledge.searcher.views["text"]
    live = dict(zip(text.live_rows.tolist(), text.live_vectors, strict=True))
    for row, vector in zip(rows, view[rows], strict=True):
        assert np.array_equal(vector, live.get(int(row), text.base[row] if row < len(text.base) else None))
    assert len(recommender.recommend("fresh", k=50, diversity=0.9).cards) == 50


def test_an_update_replaces_text_and_facts(recommender: Recommender, shop: Path, tmp_path: Path) -> None:
    change = {
        "id": "p3",
        "title": "Submarine model kit",
        "description": "a plastic submarine to build",
        "attributes": {},
    }
    change_items(shop, lines(tmp_path / "change.jsonl", change), mode="update")
    found = recommender.search("submarine").cards[0]
    assert (found.id, found.title) == ("p3", "Submarine model kit")


def test_a_removed_item_vanishes_and_comes_back(recommender: Recommender, shop: Path) -> None:
    gone = recommender.search("warm desk lamp").cards[0].id
    set_availability(shop, [gone], available=False)
    assert gone not in {card.id for card in recommender.search("warm desk lamp", k=50).cards}
    assert gone not in {card.id for card in recommender.recommend("fresh", k=50).cards}
    set_availability(shop, [gone], available=True)
    assert recommender.search("warm desk lamp").cards[0].id == gone


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"id": "x"}', r"new\.jsonl:1: title"),
        ('{"id": "x", "title": "X"', r"new\.jsonl:1: not JSON"),
        ('{"id": "p1", "title": "X"}', "there already"),
        ('{"id": "x", "title": "X", "attributes": {"price": "dear"}}', "price"),
        ('{"id": "x", "title": "X", "image": "none.png"}', "none.png"),
    ],
)
def test_bad_lines_change_nothing(shop: Path, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "new.jsonl").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        change_items(shop, tmp_path / "new.jsonl", mode="add")
    with Recommender.open(shop, llm="rules") as recommender:
        assert recommender.knowledge.version == 0
