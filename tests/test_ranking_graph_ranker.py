"""One user's scores by a graph are the graph's; shares sum to them; a graph survives the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.ranking.graph import GraphConfig, GraphModel, fit_graph
from llm4rec.ranking.graph_ranker import GraphRanker, load_graph, save_graph
from llm4rec.ranking.history import from_events
from llm4rec.ranking.log import Log, Pasts

ITEMS = 20


def graph(dense_limit: int = 100) -> GraphModel:
    rng = np.random.default_rng(1)
    log = Log.of_lists([rng.choice(ITEMS - 1, 4, replace=False) for _ in range(15)], ITEMS)
    items = [Item(id=f"i{row}", title=f"item {row}", attributes={"kind": f"kind {row % 5}"}) for row in range(ITEMS)]
    return fit_graph(log, Catalogue.of(items), GraphConfig(attributes=0.5, dense_limit=dense_limit))


DENSE, WALKED = graph(), graph(0)


@given(st.permutations(range(ITEMS + 2)), st.integers(0, ITEMS), st.lists(st.floats(-1, 1), min_size=22, max_size=22))
@settings(deadline=None, max_examples=50)
def test_it_gives_what_the_graph_gives(order: list[int], many: int, weights: list[float]) -> None:
    history = from_events(order[:many], weights[:many], [f"event:{row}" for row in order[:many]])
    for model in (DENSE, WALKED):
        ranker = GraphRanker(model, ITEMS + 2)
        scores = ranker.scores(history)
        expected = model.score_many(Pasts.of([history.within(ITEMS)], ITEMS))[0]
        np.testing.assert_allclose(scores[:ITEMS], expected, atol=1e-5)
        assert not scores[ITEMS:].any()
        shares = ranker.shares(history, np.arange(ITEMS + 2))
        if model.kernel is None:
            assert shares is None
        else:
            assert shares is not None
            np.testing.assert_allclose(shares.sum(axis=1), scores, atol=1e-5)


@pytest.mark.parametrize("model", [DENSE, WALKED], ids=["dense", "walked"])
def test_a_graph_survives_the_disk(model: GraphModel, tmp_path: Path) -> None:
    save_graph(model, tmp_path / "graph.safetensors")
    again = load_graph(tmp_path / "graph.safetensors", model.ids)
    history = from_events([0, 6], [1, 1], ["event:a", "event:b"])
    np.testing.assert_array_equal(GraphRanker(again).scores(history), GraphRanker(model).scores(history))
    assert (again.kernel is None) == (model.kernel is None)
    for row in range(ITEMS):
        assert again.paths(history, row, 9) == model.paths(history, row, 9)
    assert load_graph(tmp_path / "graph.safetensors").ids[3] == "3"


def test_an_item_that_came_later_has_no_path() -> None:
    history = from_events([0, ITEMS], [1, 1], ["event:a", "event:b"])
    assert GraphRanker(DENSE, ITEMS + 1).paths(history, ITEMS) == []
    found = GraphRanker(DENSE, ITEMS + 1).paths(history, 5, 9)
    assert "kind 0" in {path.label for path in found}
    assert {path.ref for path in found} == {"event:a"}


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.safetensors"
    with pytest.raises(UserError, match="missing"):
        load_graph(path)
    save_graph(DENSE, path)
    with pytest.raises(UserError, match="20 items, the catalogue has 2"):
        load_graph(path, ["a", "b"])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="damaged"):
        load_graph(path)
    with pytest.raises(ValueError, match="smaller"):
        GraphRanker(DENSE, 3)
