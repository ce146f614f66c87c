"""Metrics by group of users and items, and the gaps between groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.evaluation.metrics import (
    UserGroups,
    bands,
    by_group,
    by_item_group,
    by_label,
    group_shares,
    item_groups,
    recall_by_item_group,
    terciles,
)

HEAD, TAIL, COLD = range(3)


def test_groups_by_a_label() -> None:
    groups = by_label("sex", ["m", "f", None, "m", ""])
    assert groups.labels == ("f", "m")
    assert groups.codes.tolist() == [1, 0, -1, 1, -1]
    assert groups.unknown == 2
    assert groups.take(np.array([1, 2])).codes.tolist() == [0, -1]


def test_bands_begin_at_their_edges() -> None:
    groups = bands("age", [17, 18, 24, 25, 90, math.nan], [18, 25])
    assert groups.labels == ("<18", "18 to <25", ">=25")
    assert groups.codes.tolist() == [0, 1, 1, 2, 2, -1]
    with pytest.raises(ValueError, match="increase"):
        bands("age", [1], [18, 18])
    with pytest.raises(ValueError, match="increase"):
        bands("age", [1], [])


@given(st.lists(st.integers(1, 12) | st.just(math.nan), min_size=0, max_size=60))
@settings(deadline=None)
def test_terciles_are_ordered_and_keep_equals_together(amounts: list[float]) -> None:
    groups = terciles("activity", amounts)
    numbers = np.array(amounts, dtype=float)
    np.testing.assert_array_equal(groups.codes < 0, np.isnan(numbers))
    for code in range(len(groups.labels)):
        own = numbers[groups.codes == code]
        assert len(own)
        assert f"({own.min():g} to {own.max():g})" in groups.labels[code]
        later = numbers[groups.codes > code]
        assert not len(later) or own.max() < later.min()


def test_terciles_are_equal_in_size_without_ties() -> None:
    groups = terciles("activity", np.random.default_rng(0).permutation(300))
    assert np.bincount(groups.codes).tolist() == [100, 100, 100]
    assert groups.labels == ("low (0 to 99)", "middle (100 to 199)", "high (200 to 299)")
    assert np.bincount(terciles("activity", [5] * 10).codes).tolist() == [10]


def test_means_and_gap_by_hand() -> None:
    codes = np.repeat([0, 1, 2, -1], [20, 30, 3, 5])
    values = np.concatenate([np.tile([0.0, 1.0], 10), np.ones(29), [np.nan], np.full(3, 9.0), np.full(5, 4.0)])
    found = by_group(values, UserGroups("g", ("a", "b", "few"), codes))
    assert found.means["a"].mean == 0.5
    assert found.means["a"].n == 20
    assert found.means["b"].mean == 1
    assert (found.means["b"].n, found.means["b"].dropped) == (29, 1)
    assert found.means["few"].mean == 9
    assert (found.largest, found.smallest, found.left_out, found.unknown) == ("b", "a", ("few",), 5)
    assert found.gap.mean == 0.5
    assert found.gap.n == 49
    assert 0 < found.gap.low < 0.5 < found.gap.high < 1
    assert by_group(values, UserGroups("g", ("a", "b", "few"), codes), least=3).largest == "few"


def test_a_gap_between_two_groups_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 400), rng.normal(1, 2, 600)])
    found = by_group(values, UserGroups("g", ("a", "b"), np.repeat([0, 1], [400, 600])), resamples=4000)
    reach = 1.96 * math.sqrt(values[:400].var() / 400 + values[400:].var() / 600)
    assert found.gap.high - found.gap.mean == pytest.approx(reach, rel=0.06)
    assert found.gap.mean - found.gap.low == pytest.approx(reach, rel=0.06)


@pytest.mark.parametrize("tops", [(0.0, 0.0), (0.0,) * 6, (0.0, 0.0, 0.6)])
def test_the_interval_of_a_gap_holds_the_true_one(tops: tuple[float, ...]) -> None:
    rng = np.random.default_rng(7)
    codes = np.repeat(np.arange(len(tops)), 40)
    groups = UserGroups("g", tuple("abcdef"[: len(tops)]), codes)
    inside = 0
    for seed in range(200):
        gap = by_group(rng.normal(size=len(codes)) + np.array(tops)[codes], groups, resamples=200, seed=seed).gap
        assert 0 <= gap.low <= gap.mean <= gap.high
        inside += gap.low <= max(tops) - min(tops) <= gap.high
    assert inside >= 180


def test_without_two_groups_there_is_no_gap() -> None:
    for codes in (np.zeros(30, dtype=np.int64), np.full(30, -1)):
        found = by_group(np.arange(30.0), UserGroups("g", ("a", "b"), codes))
        assert math.isnan(found.gap.mean)
        assert found.largest is None
    assert found.means["a"].n == 0
    assert math.isnan(found.means["a"].mean)
    with pytest.raises(ValueError, match="30 users"):
        by_group(np.arange(3.0), UserGroups("g", ("a",), codes))
    with pytest.raises(ValueError, match="label"):
        UserGroups("g", ("a",), np.array([1]))


def slow_item_groups(counts: list[int], share: float) -> list[int]:
    codes = [TAIL if count else COLD for count in counts]
    held = 0
    for row in sorted(range(len(counts)), key=lambda row: (-counts[row], row)):
        if held >= share * sum(counts) or not counts[row]:
            break
        codes[row] = HEAD
        held += counts[row]
    return codes


@given(st.lists(st.integers(0, 9), max_size=30), st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
@settings(deadline=None)
def test_the_head_is_the_smallest_set_with_the_share(counts: list[int], share: float) -> None:
    assert item_groups(np.array(counts, dtype=np.int64), head=share).tolist() == slow_item_groups(counts, share)


def test_head_tail_and_cold() -> None:
    assert item_groups(np.array([3, 0, 5, 3, 1])).tolist() == [HEAD, COLD, HEAD, TAIL, TAIL]


@given(seed=st.integers(0, 10**6), q=st.integers(1, 8), k=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_shares_and_recall_by_item_group(seed: int, q: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, 10)
    lists = np.array([rng.choice(10, size=k, replace=False) for _ in range(q)])
    lists[rng.random((q, k)) < 0.2] = -1
    wanted = [rng.choice(10, size=int(rng.integers(0, 5)), replace=False) for _ in range(q)]
    hits = np.array([np.isin(row, want) for row, want in zip(lists, wanted, strict=True)])
    offsets = np.concatenate([[0], np.cumsum([len(want) for want in wanted])])
    targets = np.concatenate([np.empty(0, np.int64), *wanted])

    for counted, found in (
        (lists >= 0, group_shares(lists, codes, resamples=50)),
        (hits, group_shares(lists, codes, hits=hits, resamples=50)),
    ):
        shown = codes[lists[counted]]
        for code, share in enumerate(found.values()):
            if not len(shown):
                assert math.isnan(share.mean)
            else:
                assert share.mean == pytest.approx((shown == code).mean())
                assert q < 2 or 0 <= share.low <= share.high <= 1

    recalled = recall_by_item_group(lists, hits, offsets, targets, codes)
    for query in range(q):
        for code in range(3):
            own = {item for item in wanted[query].tolist() if codes[item] == code}
            if own:
                assert recalled[query, code] == pytest.approx(len(own & set(lists[query].tolist())) / len(own))
            else:
                assert math.isnan(recalled[query, code])


def test_the_share_of_a_group_has_the_interval_of_a_proportion() -> None:
    rng = np.random.default_rng(3)
    found = group_shares(rng.integers(0, 3, (500, 1)), np.array([0, 1, 2]), labels=("a", "b", "c"))
    for share in found.values():
        reach = 1.96 * math.sqrt(share.mean * (1 - share.mean) / 500)
        assert (share.high - share.low) / 2 == pytest.approx(reach, rel=0.1)
    assert sum(share.mean for share in found.values()) == pytest.approx(1)


def test_gap_between_item_groups() -> None:
    rng = np.random.default_rng(4)
    values = np.column_stack([rng.random(200), rng.random(200) + 1, np.full(200, np.nan)])
    values[rng.random(200) < 0.5, 0] = np.nan
    found = by_item_group(values)
    assert (found.largest, found.smallest, found.left_out) == ("tail", "head", ("cold",))
    assert found.means["head"].n == int((~np.isnan(values[:, 0])).sum())
    assert found.gap.mean == pytest.approx(np.nanmean(values[:, 1]) - np.nanmean(values[:, 0]))
    assert 0.8 < found.gap.low < found.gap.mean < found.gap.high < 1.2
    with pytest.raises(ValueError, match="item groups"):
        by_item_group(values[:, :2])


def test_users_with_both_values_are_drawn_together() -> None:
    """Two item groups whose values differ by the same for every user are apart by exactly that."""
    own = np.random.default_rng(5).normal(size=100)
    found = by_item_group(np.column_stack([own, own + 1]), ("a", "b"))
    assert found.gap.low == pytest.approx(1)
    assert found.gap.high == pytest.approx(1)


def test_users_with_several_values_are_drawn_whole() -> None:
    """Everything four times is no more evidence than once, and a group of few users is not made large by it."""
    rng = np.random.default_rng(6)
    users = np.tile(np.arange(105), 4)
    once, codes = rng.normal(size=105), np.repeat([0, 1, 2], [50, 50, 5])
    groups, four = UserGroups("g", ("a", "b", "few"), codes), UserGroups("g", ("a", "b", "few"), np.tile(codes, 4))
    alone, together = by_group(once, groups), by_group(np.tile(once, 4), four, users=users)
    assert together.left_out == alone.left_out == ("few",)
    assert together.gap.mean == pytest.approx(alone.gap.mean)
    assert together.gap.high == pytest.approx(alone.gap.high, rel=0.05)

    values = np.where(codes[:, None] == np.arange(3), once[:, None], np.nan)
    items, several = by_item_group(values), by_item_group(np.tile(values, (4, 1)), users=users)
    assert several.left_out == ("cold",)
    assert several.gap.high == pytest.approx(items.gap.high, rel=0.05)
    assert items.gap.high == pytest.approx(alone.gap.high, rel=0.1)

    lists = rng.integers(0, 3, (105, 2))
    shares = group_shares(lists, np.arange(3))["head"]
    again = group_shares(np.tile(lists, (4, 1)), np.arange(3), users=users)["head"]
    assert again.high - again.low == pytest.approx(shares.high - shares.low, rel=0.1)
