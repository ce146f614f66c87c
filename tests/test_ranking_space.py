"""The fused item space: its faces against the definitions written out, what content adds, and its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.profiles.posterior import fold
from llm4rec.ranking import _space_faces
from llm4rec.ranking._space_content import GRAPH, fit_content, item_features
from llm4rec.ranking._space_faces import blended, fit_faces
from llm4rec.ranking.log import Log
from llm4rec.ranking.space import ItemSpace, SpaceConfig, fit_space, load_space
from numpy.typing import NDArray

WORLD = 15


def two_worlds(users: int = 80, seed: int = 0) -> Log:
    """Half of the people choose among items 0-14, half among 15-29; items 30 and 31 are chosen by nobody."""
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(WORLD)[:9] + WORLD * (user % 2) for user in range(users)], 2 * WORLD + 2)


def world_view() -> NDArray[np.float32]:
    """A view that tells the worlds apart; item 30 is of the first, item 31 lacks it."""
    rng = np.random.default_rng(1)
    vectors = 0.3 * rng.normal(size=(2 * WORLD + 2, 6))
    vectors[:WORLD, 0] += 1
    vectors[WORLD : 2 * WORLD, 1] += 1
    vectors[2 * WORLD, 0] += 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-1] = 0
    return vectors.astype(np.float32)


def catalogue() -> Catalogue:
    genre = ["a"] * WORLD + ["b"] * WORLD + ["a", ""]
    return Catalogue.of(
        [Item(f"i{at}", f"item {at}", attributes={"genre": of} if of else {}) for at, of in enumerate(genre)]
    )


def by_pairs(log: Log, said: NDArray[np.float64]) -> NDArray[np.floating]:
    """The faces asked along, from every pair of an earlier and a later event."""
    pairs, weights = np.zeros((log.n_items, log.n_items)), np.zeros(log.n_items)
    before, events, users = np.zeros(log.n_items), 0.0, 0.0
    for user in range(log.n_users):
        rows = log.items[log.of_user(user)].astype(int).tolist()
        if not rows:
            continue
        weight = 1 / np.sqrt(len(rows))
        users, events = users + weight, events + weight * len(rows)
        for later, row in enumerate(rows):
            weights[row] += weight
            before[row] += weight * later
            for earlier in rows[:later]:
                pairs[earlier, row] += weight
    found: NDArray[np.floating] = np.linalg.solve(
        said.T @ said, said.T @ (pairs / users - np.outer(weights / users, before / events))
    ).T
    return found


@given(st.integers(0, 2**16), st.integers(1, 20))
def test_the_faces_are_what_their_definitions_say(seed: int, events: int) -> None:
    rng = np.random.default_rng(seed)
    log = Log.of_lists([rng.permutation(12)[: rng.integers(0, 12)] for _ in range(30)], 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_space_faces, "_EVENTS", events)
        faces = fit_faces(log, 64, 3, seed=seed)
    matrix = log.matrix().toarray()[log.lengths > 0].astype(float)
    assert faces.n_users == len(matrix)
    np.testing.assert_allclose(faces.share, matrix.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(faces.said @ faces.said.T, np.cov(matrix.T, bias=True), atol=1e-4)
    np.testing.assert_allclose(faces.own, 0, atol=1e-4)
    np.testing.assert_allclose(faces.said @ faces.asked.T, faces.said @ by_pairs(log, faces.said).T, atol=1e-6)


def test_what_few_axes_leave_out_is_noise() -> None:
    log = two_worlds()
    few, all_of_it = fit_faces(log, 3, 4), fit_faces(log, 64, 4)
    assert few.said.shape[1] == 2
    variance = few.share * (1 - few.share)
    np.testing.assert_allclose(np.square(few.said).sum(axis=1) + few.own, variance, atol=1e-5)
    assert few.own[: 2 * WORLD].min() > 0.01 > all_of_it.own.max()
    assert (few.noise(2.0) - few.noise(1.0)).tolist() == pytest.approx([few.typical] * log.n_items)


def test_later_is_what_came_after_the_window() -> None:
    faces = fit_faces(Log.of_lists([[0, 1, 2], [2, 1], [], [1]], 4), 8, 1)
    assert faces.share.tolist() == pytest.approx([1 / 3, 1, 2 / 3, 0])
    assert faces.later.tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0])


def test_two_choices_tell_which_world_a_user_is_of() -> None:
    space = fit_space(two_worlds())
    seen = [space.observation(row, 1.0, float(time)) for time, row in enumerate((0, 1))]
    scores = fold(space.prior, [one for one in seen if one is not None]).scores(space.asked)
    assert scores[2:WORLD].mean() > 1.5 * scores[WORLD : 2 * WORLD].mean()


def test_nobody_known_is_expected_to_like_what_is_popular_late() -> None:
    log = two_worlds()
    space = fit_space(log)
    later = fit_faces(log, 128, space.info.window).later
    np.testing.assert_allclose(space.asked @ space.mean, later, atol=1e-6)


def test_refusing_is_the_opposite_look_and_half_a_signal_half_as_sure() -> None:
    space = fit_space(two_worlds())
    like, dislike, half = (space.observation(3, signal, 0.0) for signal in (1.0, -1.0, 0.5))
    assert like is not None
    assert dislike is not None
    assert half is not None
    assert (like.target, dislike.target, half.target) == (1, -1, 1)
    assert half.precision == like.precision / 2 == dislike.precision / 2
    assert space.observation(3, 0.0, 0.0) is None


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_stated_taste_moves_what_it_speaks_of(polarity: int) -> None:
    space = fit_space(two_worlds())
    signed = np.zeros(space.n_items)
    signed[:WORLD] = polarity
    stated = space.statement(signed, ref="e", thread="tonight")
    assert stated is not None
    assert (stated.time, stated.thread) == (None, "tonight")
    moved = fold(space.prior, [stated], thread="tonight").scores(space.asked) - space.asked @ space.mean
    assert polarity * moved[:WORLD].min() > 0 > polarity * moved[WORLD : 2 * WORLD].mean()
    sure = space.statement(signed, sure=0.5)
    assert sure is not None
    assert sure.precision == stated.precision / 2
    assert space.statement(np.zeros(space.n_items)) is None


def test_content_places_items_that_nobody_chose() -> None:
    log = two_worlds()
    plain, told = fit_space(log), fit_space(log, catalogue(), {"text": world_view()})
    assert set(told.info.views) == {"text", GRAPH}
    new = 2 * WORLD
    assert not plain.asked[new].any()
    seen = {world: told.observation(world * WORLD, 1.0, 0.0) for world in (0, 1)}
    of_first, of_second = (fold(told.prior, [one]).scores(told.asked)[new] for one in seen.values() if one is not None)
    assert of_first > of_second
    # Nothing is known of the last item: no view, no label, no choice.
    assert not told.asked[-1].any()
    assert not told.said[-1].any()


def test_choices_outweigh_content_as_they_grow() -> None:
    log = two_worlds()
    faces, features = fit_faces(log, 8, 4), item_features(log.n_items, None, {"text": world_view()})
    content = fit_content(faces, log.counts, features, {"text": 1.0})
    assert content is not None
    said, _, later = blended(faces, content, log.counts, 4.0)
    count = log.counts[0]
    np.testing.assert_allclose(said[0], (count * faces.said[0] + 4 * content.said[0]) / (count + 4))
    np.testing.assert_allclose(said[2 * WORLD], content.said[2 * WORLD])
    assert later.min() >= 0
    alone = blended(faces, content, log.counts, 0.0)[0]
    np.testing.assert_allclose(alone[: 2 * WORLD], faces.said[: 2 * WORLD])
    np.testing.assert_allclose(alone[2 * WORLD], content.said[2 * WORLD])
    assert fit_content(faces, log.counts, features, {"text": 0.0}) is None


def test_features_are_centred_and_nothing_where_a_view_is_missing() -> None:
    found = item_features(2 * WORLD + 2, catalogue(), {"text": world_view(), "image": np.zeros((32, 3), np.float32)})
    assert set(found) == {"text", GRAPH}
    for vectors in found.values():
        np.testing.assert_allclose(vectors[:-1].mean(axis=0), 0, atol=1e-6)
        assert not vectors[-1].any()
    bare = Catalogue.of([Item(f"i{at}", f"item {at}") for at in range(4)])
    assert item_features(4, bare, {}) == {}


def test_it_is_learned_on_users_that_were_not_fitted_on_and_the_same_for_one_seed() -> None:
    log = two_worlds(users=240)
    config = SpaceConfig(noises=(1.0, 100.0), keeps=(1.0,), shrinks=(0.0, 1e6))
    one, two = (fit_space(log, None, {"text": world_view()}, config, seed=5) for _ in range(2))
    assert one.info == two.info
    assert np.array_equal(one.asked, two.asked)
    assert one.info.learned_on == 36
    assert one.info.ndcg is not None
    assert 0.3 < one.info.ndcg <= 1
    assert one.info.noise in config.noises
    few = fit_space(two_worlds(users=40), None, {"text": world_view()}, config)
    assert (few.info.learned_on, few.info.ndcg, few.info.noise, few.info.shrink) == (0, None, 1.0, 0.0)


def test_a_log_of_nothing_gives_a_space_of_nothing() -> None:
    space = fit_space(Log.of_lists([[], []], 3))
    assert space.n_items == 3
    assert not space.asked.any()
    one = fit_space(Log.of_lists([[1]], 3))
    assert np.isfinite(one.asked).all()
    assert one.noise.min() > 0


def test_it_is_kept_on_disk_as_it_is(tmp_path: Path) -> None:
    space = fit_space(two_worlds(), catalogue(), {"text": world_view()})
    space.save(tmp_path / "posterior.safetensors")
    again = load_space(tmp_path / "posterior.safetensors")
    assert again.info == space.info
    for name in ("said", "asked", "noise", "mean", "variance"):
        assert np.array_equal(getattr(again, name), getattr(space, name))
        assert getattr(again, name).dtype == getattr(space, name).dtype


def test_a_file_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "posterior.safetensors"
    with pytest.raises(UserError, match="missing"):
        load_space(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="damaged"):
        load_space(path)
    space: ItemSpace = fit_space(two_worlds())
    with monkeypatch.context() as patch:
        patch.setattr("llm4rec.ranking.space._VERSION", "0")
        space.save(path)
    with pytest.raises(UserError, match="version"):
        load_space(path)


def test_a_config_that_is_none_is_refused() -> None:
    for change in ({"d": 1}, {"window": 0}, {"share": 1.0}, {"hidden": 0.0}):
        with pytest.raises(ValueError, match="at least"):
            replace(SpaceConfig(), **change)
