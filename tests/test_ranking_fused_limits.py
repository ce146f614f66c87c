"""What is left out of the fused model, or fitted on less, where a log is tiny or huge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.ranking.fused import FusedConfig, Inputs, fit_fused
from llm4rec.ranking.fused_limits import FIXED, Limits, for_transitions, left_out, sequence_config
from llm4rec.ranking.log import Log
from llm4rec.ranking.sequence import SequenceConfig

ITEMS = 30
ALL = FusedConfig().parts
LOG = Log.of_lists([np.random.default_rng(user).choice(ITEMS, 8, replace=False) for user in range(20)], ITEMS)
CATALOGUE = Catalogue.of([Item(id=str(row), title=f"item {row}", attributes={}) for row in range(ITEMS)])
VIEWS = {name: np.eye(ITEMS, dtype=np.float32) for name in ("text", "image")}


def inputs(**limits: int) -> Inputs:
    return Inputs(LOG, CATALOGUE, VIEWS, limits=replace(Limits(least=10), **limits))


def test_nothing_is_left_out_of_an_ordinary_log() -> None:
    assert left_out(ALL, inputs(), 20) == {}


@pytest.mark.parametrize(
    ("limits", "name", "why"),
    [
        ({"least": 21}, "sequence", "20 events to learn from, the least is 21"),
        ({"sequence_events": 300}, "sequence", "160 interactions, the limit is 100"),
        ({"graph": 159}, "graph", "160 interactions, the limit is 159"),
    ],
)
def test_what_is_over_a_limit_is_left_out_and_said(limits: dict[str, int], name: str, why: str) -> None:
    assert left_out(ALL, inputs(**limits), 20) == {name: why}


def test_what_needs_something_that_is_not_there_is_left_out() -> None:
    assert left_out(ALL, Inputs(LOG), 1000) == {
        "graph": "nothing is known of the items",
        "text": "the items have no text view",
        "image": "the items have no image view",
    }


def test_a_long_log_is_read_fewer_times() -> None:
    assert sequence_config(100_000, Limits()) == SequenceConfig()
    assert sequence_config(600_000, Limits()).epochs == 10
    for events in (1, 10**5, 10**6, 2 * 10**6):
        assert events * sequence_config(events, Limits()).epochs <= 6_000_000


def test_transitions_are_counted_over_users_that_fit() -> None:
    assert for_transitions(LOG, Limits(), seed=0) is LOG
    fewer = for_transitions(LOG, Limits(pairs=640), seed=0)
    assert fewer.n_users == LOG.n_users
    assert sorted(set(fewer.lengths.tolist())) == [0, 8]
    assert (fewer.lengths > 0).sum() == 10, "64 pairs a user"


def test_a_tiny_log_gets_fixed_weights() -> None:
    model = fit_fused(LOG, CATALOGUE, VIEWS, FusedConfig())
    assert model.weights.queries == 0
    assert dict(zip(model.weights.parts, model.weights.plain, strict=True)) == {
        name: FIXED[name] for name in ALL if name != "sequence"
    }
    assert model.left_out == {"sequence": "20 events to learn from, the least is 500"}
    assert np.isfinite(model.score_many(LOG.pasts())).all()


@pytest.mark.parametrize("lists", [[], [[]], [[1], [], [2]]])
def test_logs_of_next_to_nothing_are_ranked(lists: list[list[int]]) -> None:
    log = Log.of_lists(lists, 5)
    model = fit_fused(log, None, {"text": np.eye(5, dtype=np.float32)}, FusedConfig())
    scores = model.score_many(Log.of_lists([[0]], 5).pasts())
    assert np.isfinite(scores).all()


def test_no_part_left_is_said() -> None:
    with pytest.raises(UserError, match="no part of the ranker is left: image: the items have no image view"):
        fit_fused(LOG, config=FusedConfig(parts=("image",)))
