"""The sequence model: its losses against torch's own, its batches against the log, and what it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.ranking._sequence_batches import NEVER, Batch, Window, batch_of, packed, windows
from llm4rec.ranking.history import empty, from_events
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.sequence import SequenceConfig, SequenceModel, fit_sequence, load_sequence
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

SMALL = SequenceConfig(width=16, layers=1, heads=2, length=8, epochs=2, batch=64, dropout=0.1)


def random_log(seed: int, users: int, items: int, most: int = 30) -> Log:
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(items)[: rng.integers(0, min(items, most) + 1)] for _ in range(users)], items)


def circle(users: int = 300, items: int = 12, length: int = 7, seed: int = 0) -> Log:
    """Each user goes round a circle of items from a random place; nothing but the last item says what is next."""
    starts = np.random.default_rng(seed).integers(items, size=users)
    return Log.of_lists([(start + np.arange(length)) % items for start in starts], items)


# ---- losses


def case(seed: int, items: int = 9, pasts: int = 4) -> tuple[Any, Any, Any, Batch]:
    """States, table, constants and a batch whose pasts have chosen some of the items already."""
    rng = np.random.default_rng(seed)
    n = 3 * pasts
    past, step = np.repeat(np.arange(pasts), 3), np.tile(np.arange(3), pasts)
    orders = np.stack([rng.permutation(items) for _ in range(pasts)])
    chosen = np.full((pasts, items), NEVER, dtype=np.int16)
    for row in range(pasts):
        chosen[row, orders[row, :3]] = np.arange(3)
        chosen[row, orders[row, 3]] = -1  # before the window
    tensors = [
        torch.from_numpy(rng.normal(size=shape).astype(np.float32)).requires_grad_()
        for shape in ((n, 5), (items, 5), (items,))
    ]
    batch = Batch(
        codes=np.zeros((pasts, 3), dtype=np.int64),
        past=past.astype(np.int64),
        step=step.astype(np.int16),
        targets=orders[past, step].astype(np.int64),
        chosen=chosen,
    )
    return tensors[0], tensors[1], tensors[2], batch


def plain(states: Any, table: Any, constant: Any, batch: Batch) -> Any:
    """torch's own cross-entropy, with what was chosen before struck out."""
    scores = states @ table.T + constant
    before = torch.from_numpy(batch.chosen[batch.past] < batch.step[:, None])
    return torch.nn.functional.cross_entropy(scores.masked_fill(before, -np.inf), torch.from_numpy(batch.targets))


@given(st.integers(0, 2**16), st.sampled_from([1, 30, 1 << 19]))
@settings(deadline=None, max_examples=30)
def test_full_loss_and_its_gradient_are_torchs(seed: int, block: int) -> None:
    from llm4rec.ranking import _sequence_loss

    *parts, batch = case(seed)
    expected = plain(*parts, batch)
    wanted = torch.autograd.grad(3 * expected, parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sequence_loss, "_BLOCK", block)
        found = _sequence_loss.full(*parts, batch)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    for got, want in zip(torch.autograd.grad(3 * found, parts), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_sampled_loss_over_every_item_once_is_the_full_loss() -> None:
    from llm4rec.ranking._sequence_loss import sampled

    *parts, batch = case(1)
    every = torch.arange(9)
    found, expected = sampled(*parts, batch, every, torch.zeros(9)), plain(*parts, batch)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    pairs = zip(torch.autograd.grad(found, parts), torch.autograd.grad(expected, parts), strict=True)
    for got, want in pairs:
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_sampled_gradient_is_the_full_one_on_average_and_only_with_the_correction() -> None:
    from llm4rec.ranking._sequence_loss import sampled

    *parts, batch = case(2)
    odds = np.geomspace(1, 30, 9)
    odds /= odds.sum()
    rng = np.random.default_rng(0)
    m, rounds = 200, 400
    means = {corrected: [torch.zeros_like(one) for one in parts] for corrected in (True, False)}
    for _ in range(rounds):
        drawn, times = np.unique(rng.choice(9, size=m, p=odds), return_counts=True)
        about = np.ascontiguousarray(batch.chosen[:, drawn])
        for corrected, total in means.items():
            rate = np.log((m * odds[drawn] if corrected else m / 9) / times).astype(np.float32)
            loss = sampled(
                *parts, replace(batch, chosen=about), torch.from_numpy(drawn), torch.from_numpy(np.asarray(rate))
            )
            for mean, one in zip(total, torch.autograd.grad(loss, parts), strict=True):
                mean += one / rounds
    full = torch.autograd.grad(plain(*parts, batch), parts)
    off = {
        corrected: max(float((got - want).abs().max()) for got, want in zip(total, full, strict=True))
        for corrected, total in means.items()
    }
    assert off[True] < 0.01 < 0.05 < off[False]


# ---- batches


offsets = st.lists(st.integers(0, 25), min_size=1, max_size=12).map(
    lambda lengths: np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
)


@given(offsets, st.integers(2, 9), st.integers(0, 99))
def test_windows_hold_every_event_once(found: NDArray[np.int64], size: int, seed: int) -> None:
    cut = windows(found, size, np.random.default_rng(seed))
    events = [event for one in cut for event in range(one.first, one.stop)]
    assert len(set(events)) == len(events)
    assert all(0 < one.stop - one.first <= size and one.begin <= one.first for one in cut)
    users = np.searchsorted(found, [one.begin for one in cut], side="right") - 1
    assert all(one.stop <= found[user + 1] and one.begin == found[user] for one, user in zip(cut, users, strict=True))
    # Only an event alone behind a cut is left out, at most two of a user.
    missing = np.setdiff1d(np.arange(found[-1]), events)
    owners = np.searchsorted(found, missing, side="right") - 1
    assert all((owners == owner).sum() <= 2 for owner in owners)


@given(offsets, st.integers(1, 40), st.integers(0, 99))
def test_packing_keeps_every_window_and_bounds_the_batch(found: NDArray[np.int64], events: int, seed: int) -> None:
    cut = windows(found, 9, np.random.default_rng(seed))
    batches = list(packed(cut, events, np.random.default_rng(seed)))
    assert sorted((one for batch in batches for one in batch), key=lambda one: one.first) == cut
    assert all(sum(one.stop - one.first for one in batch) < events + 9 for batch in batches)


def test_a_batch_by_hand() -> None:
    items = np.array([4, 1, 3, 0, 2, 5])  # one user of four events, one of two
    about = np.array([0, 1, -1, 2, 3, 4])  # item 2 is not asked about
    batch = batch_of([Window(0, 2, 4), Window(4, 4, 6)], items, about, 5)
    assert batch.codes.tolist() == [[0, 4], [0, 3]]
    assert batch.past.tolist() == [0, 1, 1]
    assert batch.step.tolist() == [1, 0, 1]
    assert batch.targets.tolist() == [0, 2, 5]
    assert batch.chosen.tolist() == [[1, -1, 0, -1, NEVER], [NEVER, NEVER, NEVER, NEVER, 1]]


# ---- the network


def test_a_state_knows_nothing_of_what_comes_after_it() -> None:
    from llm4rec.ranking._sequence_net import Net

    net = Net(20, width=16, layers=2, heads=2, dropout=0.0, longest=40).eval()
    with torch.inference_mode():
        codes = torch.randint(1, 21, (3, 40))
        states = net(codes)
        other = codes.clone()
        other[:, 25:] = 0
        np.testing.assert_allclose(net(other)[:, :25], states[:, :25], atol=1e-5)
        np.testing.assert_allclose(net(codes[:, :25]), states[:, :25], atol=1e-5)
        other[:, 0] = 7
        assert not np.allclose(net(other)[:, 24], states[:, 24], atol=1e-5)


# ---- fit and score


@pytest.fixture(scope="module")
def fitted() -> SequenceModel:
    return fit_sequence(random_log(0, 60, 25), SMALL, seed=3)


def accuracy(model: SequenceModel, log: Log) -> float:
    pasts = log.pasts()
    scores = model.score_many(pasts)
    scores[pasts.seen().nonzero()] = -np.inf
    wanted = (log.items[log.offsets[1:] - 1] + 1) % log.n_items
    return float((scores.argmax(axis=1) == wanted).mean())


@pytest.mark.parametrize("sampled_above", [100, 0])
def test_it_learns_what_comes_next(sampled_above: int) -> None:
    config = replace(SMALL, width=32, epochs=30, rate=5e-3, sampled_above=sampled_above, samples=8)
    model = fit_sequence(circle(), config)
    assert accuracy(model, circle(users=40, length=4, seed=1)) > 0.9


def test_the_seed_settles_the_weights_and_torch_is_left_as_it_was() -> None:
    log = random_log(1, 40, 25)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = (fit_sequence(log, SMALL, seed=seed).score_many(log.pasts()) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1e-3


def test_a_row_depends_on_its_own_past_alone(fitted: SequenceModel) -> None:
    pasts = random_log(2, 90, 25).pasts()
    every = fitted.score_many(pasts)
    assert every.dtype == np.float32
    assert every.shape == (90, 25)
    assert np.isfinite(every).all()
    for at in (0, 17, 89):
        np.testing.assert_allclose(fitted.score_many(pasts.part(at, at + 1))[0], every[at], atol=1e-5)


def test_order_counts_and_what_lies_beyond_the_length_does_not(fitted: SequenceModel) -> None:
    rows = list(range(12))
    lists = [rows, [11, 10, 9, *rows[3:9], 0, 1, 2], [20, 21, *rows[4:]], rows[::-1]]
    one, _, other_start, backwards = fitted.score_many(Log.of_lists(lists, 25).pasts())
    np.testing.assert_allclose(one, other_start, atol=1e-5)  # the last 8 are alike
    assert np.abs(one - backwards).max() > 1e-3


def test_an_empty_past_scores_the_start_and_rejections_are_not_read(fitted: SequenceModel) -> None:
    start = from_events([4], [-1.0], ["event:a"])
    both = from_events([3, 4, 5], [1.0, -1.0, 0.0], ["event:a", "event:b", "event:c"])
    chosen = from_events([3, 5], [1.0, 0.0], ["event:a", "event:c"])
    scores = fitted.score_many(Pasts.of([empty(), start, both, chosen], 25))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    np.testing.assert_allclose(scores[2], scores[3], atol=1e-5)
    assert np.ptp(scores[0]) > 0


def test_the_start_learns_what_users_choose_first() -> None:
    log = Log.of_lists([[3, user % 3] for user in range(120)], 4)
    model = fit_sequence(log, replace(SMALL, epochs=40, rate=5e-3, dropout=0.0))
    assert model.score_many(Pasts.of([empty()], 4)).argmax() == 3


def test_items_never_trained_on_score_lowest_and_are_not_read() -> None:
    log = Log.of_lists([[1, 3, 5], [3, 1], [5, 3, 1]] * 5, 8)
    model = fit_sequence(log, SMALL)
    assert model.items.tolist() == [1, 3, 5]
    scores = model.score_many(Log.of_lists([[1, 3], [1, 0, 3, 7]], 8).pasts())
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    assert (scores[0, [0, 2, 4, 6, 7]] == scores[0].min()).all()


@pytest.mark.parametrize("lists", [[], [[]], [[2]], [[1], [], [2]]])
def test_a_log_with_next_to_nothing_in_it(lists: list[list[int]]) -> None:
    model = fit_sequence(Log.of_lists(lists, 4), replace(SMALL, patience=1))
    scores = model.score_many(Log.of_lists([[], [1, 2]], 4).pasts())
    assert scores.shape == (2, 4)
    assert np.isfinite(scores).all()


def test_patience_finds_the_epochs_and_fits_anew_on_everything() -> None:
    told: list[tuple[int, int | None]] = []
    log = circle(users=60)
    config = replace(SMALL, epochs=10, rate=0.05, patience=2)
    model = fit_sequence(log, config, progress=lambda _what, done, total=None: told.append((done, total)))
    assert 1 <= model.config.epochs <= 10
    assert told[-1] == (model.config.epochs, model.config.epochs)
    again = fit_sequence(log, replace(config, patience=None, epochs=model.config.epochs))
    np.testing.assert_array_equal(again.score_many(log.pasts()), model.score_many(log.pasts()))


# ---- keeping


def test_a_saved_model_scores_as_before(tmp_path: Path, fitted: SequenceModel) -> None:
    fitted.save(tmp_path / "m.safetensors")
    again = load_sequence(tmp_path / "m.safetensors")
    assert again.config == fitted.config
    pasts = random_log(2, 20, 25).pasts()
    np.testing.assert_array_equal(again.score_many(pasts), fitted.score_many(pasts))


def test_a_missing_or_damaged_file_is_one_clear_line(tmp_path: Path, fitted: SequenceModel) -> None:
    with pytest.raises(UserError, match="missing"):
        load_sequence(tmp_path / "none.safetensors")
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="damaged") as told:
        load_sequence(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"heads": 3},
        {"dropout": 1.0},
        {"mean": -0.1},
        {"rate": 0.0},
        {"patience": 0},
        {"length": 20_000},
        {"epochs": 0},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|multiple|lie in|above 0|at most"):
        SequenceConfig(**wrong)


def test_pasts_over_another_catalogue_are_refused(fitted: SequenceModel) -> None:
    with pytest.raises(ValueError, match="7 items for a model of 25"):
        fitted.score_many(Log.of_lists([[0]], 7).pasts())


def test_training_goes_on_from_an_earlier_state() -> None:
    log = circle()
    config = replace(SMALL, epochs=30, rate=5e-3, dropout=0.0)
    latest = np.zeros(len(log), dtype=np.bool_)
    latest[log.offsets[1:] - 1] = True
    before = fit_sequence(log.keep(~latest), config)
    untouched = before.score_many(log.pasts())
    gone_on = fit_sequence(log, replace(config, epochs=1), start=before)
    anew = fit_sequence(log, replace(config, epochs=1))
    assert np.array_equal(untouched, before.score_many(log.pasts()))
    # One epoch leaves what was learned before; from nothing it teaches little.
    near = np.corrcoef(gone_on.score_many(log.pasts()).ravel(), untouched.ravel())[0, 1]
    far = np.corrcoef(anew.score_many(log.pasts()).ravel(), untouched.ravel())[0, 1]
    assert near > 0.95
    assert far < near - 0.2


def test_an_item_that_is_new_since_is_learned() -> None:
    log = random_log(0, 60, 25)
    met = log.items != 7
    before = fit_sequence(log.keep(met), SMALL)
    after = fit_sequence(log, SMALL, start=before)
    assert 7 not in before.items
    assert 7 in after.items
    scores = after.score_many(log.pasts())
    assert np.isfinite(scores).all()
    assert (scores[:, 7] > scores.min(axis=1)).any()


def test_another_network_cannot_be_gone_on_with() -> None:
    log = random_log(0, 60, 25)
    with pytest.raises(ValueError, match="another shape"):
        fit_sequence(log, replace(SMALL, width=SMALL.width * 2), start=fit_sequence(log, replace(SMALL, epochs=1)))


def test_the_final_state_is_that_of_the_whole_network() -> None:
    import torch
    from llm4rec.ranking._sequence_net import Net

    torch.manual_seed(0)
    net = Net(30, width=16, layers=3, heads=4, dropout=0.3, longest=21).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    codes, at = torch.randint(0, 31, (7, 21)), torch.tensor([0, 1, 5, 9, 15, 19, 20])
    with torch.inference_mode():
        assert torch.allclose(net.final(codes, at), net(codes)[torch.arange(7), at], atol=1e-4)
