"""Ranking by the posterior: one user and many, in steps and at once, its shares, its statements, its exploring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.evaluation.policies import PolicyInputs, policy_named, scoring
from llm4rec.profiles.posterior import Observation, Posterior
from llm4rec.ranking.fused import FusedConfig
from llm4rec.ranking.fused_ranker import _Answerable
from llm4rec.ranking.history import History, empty, from_events, merge
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.models import fit, load
from llm4rec.ranking.posterior_ranker import PosteriorRanker
from llm4rec.ranking.space import ItemSpace, SpaceInfo, fit_space
from llm4rec.ranking.tastes import TasteMatches

N, D = 12, 4


def a_space(seed: int = 0, keep: float = 0.9) -> ItemSpace:
    rng = np.random.default_rng(seed)
    said, asked = (rng.normal(size=(N, D)).astype(np.float32) for _ in range(2))
    info = SpaceInfo(n_users=9, interactions=99, window=5, noise=1, keep=keep, shrink=0, views={}, learned_on=0)
    noise = rng.uniform(0.5, 2, size=N).astype(np.float32)
    return ItemSpace(said, asked, noise, rng.normal(size=D), rng.uniform(0.5, 2, size=D), info)


def a_history(seed: int, length: int, n_items: int = N) -> History:
    rng = np.random.default_rng(seed)
    opinions = rng.choice([1.0, -1.0, 0.5, -0.2, 0.0], size=length).tolist()
    return from_events(rng.permutation(n_items)[:length].tolist(), opinions, [f"e{at}" for at in range(length)])


@given(st.integers(0, 2**16), st.integers(0, N), st.sampled_from([0.5, 0.9, 1.0]))
def test_in_steps_at_once_and_for_many_it_is_one_answer(seed: int, length: int, keep: float) -> None:
    ranker, history = PosteriorRanker(a_space(seed, keep)), a_history(seed, length)
    plain = ranker.scores(history)
    assert plain.dtype == np.float32
    np.testing.assert_allclose(ranker.expected(ranker.state(history)), plain, atol=1e-4)
    np.testing.assert_allclose(ranker.expected(ranker.state(history, user="ana")), plain, atol=1e-4)
    many = ranker.score_many(Pasts.of([empty(), history, a_history(seed + 1, 3)], N))
    np.testing.assert_allclose(many[1], plain, atol=1e-4)
    np.testing.assert_allclose(many[0], a_space(seed).asked @ a_space(seed).mean, atol=1e-4)


@given(st.integers(0, 2**16), st.integers(0, N))
def test_shares_sum_to_what_the_history_adds(seed: int, length: int) -> None:
    space, history = a_space(seed), a_history(seed, length)
    rows = np.arange(N, dtype=np.int64)
    whole, alone = PosteriorRanker(space), PosteriorRanker(space, popular=False)
    shares = whole.shares(history, rows)
    assert shares.shape == (N, length)
    added = whole.scores(history) - whole.scores(empty())
    np.testing.assert_allclose(shares.sum(axis=1), added, atol=1e-4)
    np.testing.assert_allclose(alone.scores(history), added, atol=1e-4)
    np.testing.assert_allclose(alone.score_many(Pasts.of([history], N))[0], added, atol=1e-4)
    assert isinstance(alone, _Answerable)
    told = alone.contributions(history, 3)
    assert sum(one.amount for one in told) == pytest.approx(float(added[3]), abs=1e-4)
    assert {one.part for one in told} <= {"posterior"}


def test_an_event_is_one_step_on_from_the_kept_state(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = PosteriorRanker(a_space())
    log = from_events([0, 1, 2], [1, 1, 1], ["a", "b", "c"])
    live = merge(log, from_events([5], [-1], ["d"]))
    ranker.state(log, user="ana")
    seen: list[str] = []
    after = Posterior.after

    def noted(self: Posterior, one: Observation) -> Posterior:
        seen.append(one.ref)
        return after(self, one)

    monkeypatch.setattr(Posterior, "after", noted)
    found = ranker.state(live, user="ana")
    assert seen == ["d"]
    assert np.array_equal(found.mean, ranker.state(live).mean)
    undone = ranker.state(log, user="ana")
    assert np.array_equal(undone.mean, ranker.state(log).mean)


def test_what_was_turned_away_from_goes_down() -> None:
    space = fit_space(Log.of_lists([np.random.default_rng(u).permutation(8)[:6] + 8 * (u % 2) for u in range(60)], 16))
    ranker = PosteriorRanker(space)
    refused, chosen = (ranker.scores(from_events([0], [opinion], ["e"])) for opinion in (-1, 1))
    nobody = ranker.scores(empty())
    assert (refused[1:8] < nobody[1:8]).all()
    assert (chosen[1:8] > nobody[1:8]).all()


def test_live_items_and_items_of_no_face_score_nothing() -> None:
    ranker = PosteriorRanker(a_space(), N + 2)
    history = a_history(1, 4, N + 2)
    assert not ranker.scores(history)[N:].any()
    assert ranker.known.tolist() == [True] * N + [False] * 2
    only = from_events([N], [1], ["e"])
    assert np.array_equal(ranker.scores(only), ranker.scores(empty()))
    assert ranker.observations(only) == []
    assert not ranker.shares(only, np.arange(N + 2)).any()
    assert not ranker.uncertainty(ranker.state(history))[N:].any()
    with pytest.raises(ValueError, match="n_items"):
        PosteriorRanker(a_space(), N - 1)
    with pytest.raises(ValueError, match="pasts over"):
        ranker.score_many(Pasts.of([empty()], N))


def test_uncertainty_falls_with_what_is_told_and_rises_as_time_goes_by() -> None:
    ranker = PosteriorRanker(a_space())
    few, more = (ranker.state(from_events(range(n), [1] * n, ["e"] * n)) for n in (1, 6))
    nobody = ranker.uncertainty(ranker.state(empty()))
    assert (ranker.uncertainty(few) <= nobody + 1e-6).all()
    assert ranker.uncertainty(more).sum() < ranker.uncertainty(few).sum() < nobody.sum()
    assert more.time is not None
    assert ranker.uncertainty(more.at(more.time + 5)).sum() > ranker.uncertainty(more).sum()


def test_exploring_is_seeded_and_as_wild_as_the_dial_says() -> None:
    ranker = PosteriorRanker(a_space())
    state = ranker.state(a_history(2, 3))
    assert np.array_equal(ranker.explore(state, np.random.default_rng(1), 0.0), ranker.expected(state))
    one, two = (ranker.explore(state, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one, two)
    rng = np.random.default_rng(0)
    drawn = np.stack([ranker.explore(state, rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.std(axis=0), ranker.uncertainty(state), rtol=0.08)
    calm = np.stack([ranker.explore(state, rng, 0.25) for _ in range(4000)])
    np.testing.assert_allclose(calm.std(axis=0), ranker.uncertainty(state) / 2, rtol=0.08)


def test_statements_count_in_their_thread() -> None:
    ranker = PosteriorRanker(a_space(), N + 1)
    signed = np.zeros((2, N + 1), dtype=np.float32)
    signed[0, :4], signed[1, 4:6] = -1, 1
    stated = ranker.statements(TasteMatches(("no", "yes"), ("label", "label"), signed), [None, "tonight"])
    assert [(one.ref, one.thread) for one in stated] == [("no", None), ("yes", "tonight")]
    history = a_history(3, 3)
    nothing, always = ranker.state(history), ranker.state(history, stated=stated)
    tonight = ranker.state(history, user="ana", stated=stated, thread="tonight")
    assert ranker.expected(always)[:4].mean() < ranker.expected(nothing)[:4].mean()
    assert ranker.expected(tonight)[4:6].mean() > ranker.expected(always)[4:6].mean()
    # What is kept of the user is without what was stated.
    assert np.array_equal(ranker.state(history, user="ana").mean, nothing.mean)
    assert len(ranker.statements(TasteMatches(("no",), ("label",), signed[:1]))) == 1


def shop_log() -> Log:
    rng = np.random.default_rng(0)
    return Log.of_lists([rng.permutation(10)[:8] + 10 * (user % 2) for user in range(120)], 20)


def test_it_is_a_policy() -> None:
    model = scoring(policy_named("posterior").fit(PolicyInputs(train=shop_log())))
    assert model.name == "posterior"
    scores = model.score_many(Pasts.of([from_events([0, 1], [1, 1], ["a", "b"])], 20))
    assert scores[0, 2:10].min() > scores[0, 10:].max()


def test_as_a_part_of_the_ranker_it_is_built_kept_and_read(tmp_path: Path) -> None:
    fit(shop_log(), tmp_path, config=FusedConfig(parts=("popularity", "posterior")))
    ranker = load(tmp_path)
    assert list(ranker.rankers) == ["popularity", "posterior"]
    ranked = ranker.recommend(from_events([0, 1], [1, 1], ["a", "b"]), k=5)
    assert {one.row for one in ranked} <= set(range(2, 10))
    assert any(one.part == "posterior" for one in ranked[0].contributions)
    (tmp_path / "posterior.safetensors").write_bytes(b"changed")
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path)
