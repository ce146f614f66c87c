"""One history read without torch gets what the network gives; what is written is read again, and damage is named."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.ranking._sequence_buckets import BUCKETS, buckets
from llm4rec.ranking.history import from_events
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.sequence import SequenceConfig, SequenceModel, fit_sequence
from llm4rec.ranking.sequence_ranker import SequenceRanker, read_sequence

ITEMS = 40


@cache
def trained(heads: int, layers: int) -> SequenceModel:
    rng = np.random.default_rng(heads)
    # Item 7 is chosen by nobody. Large weights, so that every part of the network says something.
    log = Log.of_lists(
        [rng.permutation([i for i in range(ITEMS) if i != 7])[: rng.integers(3, 30)] for _ in range(30)], ITEMS
    )
    config = SequenceConfig(
        width=8 * heads, heads=heads, layers=layers, length=20, epochs=4, rate=0.03, mean=0.5, batch=64
    )
    return fit_sequence(log, config, seed=heads)


@given(
    st.sampled_from([(1, 1), (2, 2), (4, 3)]),
    st.permutations(range(ITEMS + 2)),
    st.integers(0, ITEMS + 2),
    st.sets(st.integers(0, ITEMS + 1), max_size=8),
)
@settings(deadline=None, max_examples=60)
def test_it_gives_what_the_network_gives(size: tuple[int, int], order: list[int], many: int, away: set[int]) -> None:
    model = trained(*size)
    rows = order[:many]
    history = from_events(rows, [-1.0 if row in away else 1.0 for row in rows], [f"event:{row}" for row in rows])
    scores = SequenceRanker.of(model, ITEMS + 2).scores(history)
    known = model.score_many(Pasts.of([history.within(ITEMS)], ITEMS))[0]
    np.testing.assert_allclose(scores[:ITEMS], known, rtol=1e-4, atol=1e-4)
    assert known.std() > 0.02
    # Never trained on: the lowest score.
    assert scores[7] == scores[ITEMS] == scores[ITEMS + 1] == scores.min()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = trained(2, 2)
    model.save(tmp_path / "sequence.safetensors")
    config, n_items, items, weights = read_sequence(tmp_path / "sequence.safetensors")
    assert (config, n_items) == (model.config, ITEMS)
    np.testing.assert_array_equal(items, model.items)
    history = from_events([3, 4], [1, 1], ["a", "b"])
    np.testing.assert_array_equal(
        SequenceRanker(config, items, weights, n_items).scores(history), SequenceRanker.of(model).scores(history)
    )


def test_a_model_of_nothing_scores_nothing() -> None:
    model = fit_sequence(Log.of_lists([[], []], 5), SequenceConfig(width=4, heads=1, epochs=1))
    assert SequenceRanker.of(model).scores(from_events([1], [1], ["a"])).tolist() == [0] * 5


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sequence.safetensors"
    with pytest.raises(UserError, match="missing"):
        read_sequence(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="damaged"):
        read_sequence(path)
    from safetensors.numpy import save_file

    save_file({"trained": np.zeros(1)}, path, metadata={"sequence": json.dumps({"version": 9})})
    with pytest.raises(UserError, match="version 9"):
        read_sequence(path)
    config, n_items, items, weights = SequenceConfig(), 3, np.arange(2), {}
    with pytest.raises(ValueError, match=r"items\.weight"):
        SequenceRanker(config, items, weights, n_items)


@pytest.mark.parametrize("longest", [1, 2, 17, 101, 1025])
def test_buckets_grow_with_the_distance(longest: int) -> None:
    found = buckets(longest)
    assert found.tolist() == sorted(found.tolist())
    assert found[: min(longest, 16)].tolist() == list(range(min(longest, 16)))
    assert found.max() < BUCKETS
