"""From stored lists to the result: the figures are those of the lists, and failures stay visible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.evaluation.grouping import per_user
from llm4rec.evaluation.intervals import interval
from llm4rec.evaluation.measuring import Measures, measures_of
from llm4rec.evaluation.metrics import accuracy, coverage, gini
from llm4rec.evaluation.policies import Policy, PolicyInputs, policies_named, policy_named
from llm4rec.evaluation.protocols.interactive import futures
from llm4rec.evaluation.protocols.loo import loo
from llm4rec.evaluation.protocols.temporal import temporal
from llm4rec.evaluation.results import RESULT, DataInfo, ReplayResult, read_result
from llm4rec.evaluation.run import Replay, replay
from llm4rec.evaluation.summary import summarise
from llm4rec.ranking.base import Model
from llm4rec.ranking.log import Log, Pasts

ITEMS, USERS = 24, 60
GENRES = ("Action", "Comedy", "Drama")
CATALOGUE = Catalogue.of(
    [Item(id=str(row), title=f"Film {row}", attributes={"genres": (GENRES[row % 3],)}) for row in range(ITEMS)]
)
PEOPLE = pl.DataFrame(
    {
        "user": [str(u) for u in range(USERS)],
        "age": [None if u == 3 else str(15 + u) for u in range(USERS)],
        "sex": ["F" if u % 3 else "M" for u in range(USERS)],
    }
)


def a_log(*, longest: int = 9, seed: int = 6) -> Log:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(ITEMS)[: rng.integers(2, longest)] for _ in range(USERS)]
    log = Log.of_lists(lists, n_items=ITEMS)
    starts = np.repeat(np.arange(USERS) * 10, log.lengths)
    within = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths)
    return replace(log, times=(starts + 7 * within).astype(np.int64))


LOG = a_log()
INFO = DataInfo(name="made up", users=USERS, items=ITEMS, interactions=len(LOG))


def raises_on(fold_events: int) -> Policy:
    """A policy that cannot be fitted on a train log of so many events."""

    def fit(inputs: PolicyInputs) -> Model:
        if len(inputs.train) == fold_events:
            raise RuntimeError("no")
        return policy_named("pop").fit(inputs)

    return Policy("sometimes", fit)


def summary(run: Replay, **options: object) -> ReplayResult:
    measures = measures_of(CATALOGUE, {"text": np.eye(ITEMS, dtype=np.float32)}, PEOPLE)
    return summarise(run, **{"protocol": "loo", "data": INFO, "ks": (5, 3), "measures": measures, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return replay(
        [loo(LOG)], policies_named("pop,itemknn,random,pop+itemknn"), out=tmp_path_factory.mktemp("run"), ks=(5, 3),
        seeds=(0, 1, 2), catalogue=CATALOGUE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(run: Replay) -> ReplayResult:
    return summary(run)


def test_figures_are_those_of_the_lists(run: Replay, result: ReplayResult) -> None:
    fold = run.folds[0]
    for policy in result.policies:
        per_seed = [accuracy(run.lists(fold.name, policy.name, s).hits, fold.n_targets, (5, 3)) for s in policy.seeds]
        for metric in per_seed[0]:
            mean = np.mean([one[metric] for one in per_seed], axis=0)
            expected = interval(mean)
            found = policy.metrics[metric]
            assert (found.mean, found.low, found.high) == (expected.mean, expected.low, expected.high)
        lists = [run.lists(fold.name, policy.name, seed).items for seed in policy.seeds]
        assert policy.metrics["coverage@5"].mean == pytest.approx(
            np.mean([coverage(x, fold.candidates) for x in lists])
        )
        assert policy.metrics["gini@5"].mean == pytest.approx(np.mean([gini(x, fold.candidates) for x in lists]))
        for name, figure in policy.metrics.items():
            assert name.partition("@")[0] in result.metrics
            if figure.mean is not None and figure.low is not None and figure.high is not None:
                assert figure.low <= figure.mean <= figure.high


def test_every_item_of_a_space_of_its_own_is_as_far_as_can_be(result: ReplayResult) -> None:
    assert result.policies[0].metrics["ild_text@5"].mean == pytest.approx(1.0)
    genres = result.policies[0].metrics["ild_genres@5"].mean
    assert genres is not None
    assert 0 < genres < 1
    assert "calibration_genres@5" in result.policies[0].metrics


def test_seeds_are_averaged_and_shown(result: ReplayResult) -> None:
    pop, _, random, _ = result.policies
    assert pop.by_seed == {}
    assert random.seeds == (0, 1, 2)
    means = [seed["ndcg@5"] for seed in random.by_seed.values()]
    assert random.metrics["ndcg@5"].mean == pytest.approx(np.mean([m for m in means if m is not None]))
    assert len(set(means)) > 1


def test_groups_of_users_and_items(result: ReplayResult) -> None:
    by = {(g.by, g.metric): g for g in result.policies[0].groups}
    assert {name for name, _ in by} == {"activity", "sex", "age", "items"}
    sex = by["sex", "ndcg@5"]
    assert list(sex.groups) == ["F", "M"]
    assert (sex.groups["F"].n, sex.groups["M"].n) == (40, 20)
    assert by["age", "ndcg@5"].unknown == 1
    assert set(by["items", "recall@5"].groups) == {"head", "tail", "cold"}
    assert sum(share.mean or 0 for share in result.policies[0].shown.values()) == pytest.approx(1)


def test_the_baseline_is_the_best_that_is_not_made_of_others(result: ReplayResult) -> None:
    singles = {p.name: p.metrics["ndcg@5"].mean or 0 for p in result.policies if not p.combined}
    assert result.baseline == max(singles, key=lambda name: singles[name])
    assert "not made of others" in result.baseline_rule
    assert [p.combined for p in result.policies] == [False, False, False, True]
    compared = [c for c in result.comparisons if c.metric == "ndcg@5"]
    assert len(compared) == 3
    for one in compared:
        other, base = (next(p for p in result.policies if p.name == n) for n in (one.policy, result.baseline))
        assert one.difference.mean == pytest.approx(
            (other.metrics["ndcg@5"].mean or 0) - (base.metrics["ndcg@5"].mean or 0)
        )
        assert one.p is not None
        assert one.p_holm is not None
        assert one.p <= one.p_holm
    assert {c.metric for c in result.comparisons} >= {"coverage@5", "ild_text@5", "ild_genres@3", "hr@3"}


def test_a_policy_never_differs_from_itself(tmp_path: Path) -> None:
    twin = replace(policy_named("pop"), name="twin")
    found = summary(replay([loo(LOG)], [policy_named("pop"), twin], out=tmp_path, ks=[5]), ks=[5], baseline="pop")
    assert found.baseline_rule == "as asked for"
    for one in found.comparisons:
        assert (one.difference.mean, one.difference.low, one.difference.high) == (0, 0, 0)
        assert one.p in (None, 1.0)


def test_the_document_is_whole_and_plain_json(result: ReplayResult, tmp_path: Path) -> None:
    path = result.write(tmp_path)
    assert path.name == RESULT
    assert [p.name for p in tmp_path.iterdir()] == [RESULT]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    plain = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert plain["schema"] == "llm4rec.replay/1"
    assert read_result(tmp_path) == result
    assert plain["protocol"]["ks"] == [5, 3]
    assert "full ranking" in plain["protocol"]["rules"][0]
    assert plain["machine"]["cores"] >= 1
    assert "later events included" in plain["protocol"]["folds"][0]["notes"][0]


def test_a_result_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run 'llm4rec replay' first"):
        read_result(tmp_path)
    (tmp_path / RESULT).write_text('{"schema": "llm4rec.replay/1"}', encoding="utf-8")
    with pytest.raises(UserError, match="is damaged at created"):
        read_result(tmp_path)


def without_times(result: ReplayResult) -> dict[str, object]:
    """All of a result but when, how fast and in how much memory it was made."""
    plain = result.model_dump()
    for name in ("created", "seconds", "reused_cells"):
        del plain[name]
    for policy in plain["policies"]:
        del policy["timings"], policy["peak_mb"]
    return plain


def test_a_resumed_run_ends_in_the_same_result(tmp_path: Path) -> None:
    def policies(stop: bool) -> list[Policy]:
        def fit(inputs: PolicyInputs) -> Model:
            if stop:
                raise KeyboardInterrupt
            return policy_named("itemknn").fit(inputs)

        return [policy_named("random"), Policy("kNN", fit)]

    options = {"out": tmp_path / "cut", "ks": (5, 3), "seeds": (0, 1)}
    with pytest.raises(KeyboardInterrupt):
        replay([loo(LOG)], policies(True), **options)  # type: ignore[arg-type]
    resumed = replay([loo(LOG)], policies(False), resume=True, **options)  # type: ignore[arg-type]
    whole = replay([loo(LOG)], policies(False), **{**options, "out": tmp_path / "whole"})  # type: ignore[arg-type]
    assert resumed.reused == 2
    assert without_times(summary(resumed)) == without_times(summary(whole))


def test_failures_are_shown_and_the_others_are_measured(tmp_path: Path) -> None:
    folds = temporal(LOG, windows=2, share=0.6)
    bad = Policy("bad", lambda inputs: 1 / 0)  # type: ignore[arg-type,return-value]
    partly = raises_on(len(folds[1].train))
    found = summary(replay(folds, [bad, partly, policy_named("pop")], out=tmp_path, ks=(5, 3)), baseline="pop")
    assert [p.status for p in found.policies] == ["failed", "partly", "done"]
    assert found.policies[0].metrics == {}
    assert found.policies[1].folds == (folds[0].name,)
    assert [(f.policy, f.fold) for f in found.failures] == [
        ("bad", folds[0].name),
        ("bad", folds[1].name),
        ("sometimes", folds[1].name),
    ]
    assert found.failures[0].error == "ZeroDivisionError: division by zero"
    # What did not fail is compared where both have lists: there they are the same policy.
    (one,) = [c for c in found.comparisons if c.metric == "ndcg@5"]
    assert one.difference.mean == 0
    assert one.difference.n == len(folds[0])


def test_when_every_policy_fails_there_is_still_a_result(tmp_path: Path) -> None:
    bad = Policy("bad", lambda inputs: 1 / 0)  # type: ignore[arg-type,return-value]
    found = summary(replay([loo(LOG)], [bad], out=tmp_path, ks=(5, 3)))
    assert found.baseline is None
    assert found.comparisons == ()
    assert len(found.failures) == 1


def test_windows_are_measured_together_and_users_drawn_whole(tmp_path: Path) -> None:
    folds = temporal(LOG, windows=3, share=0.4)
    run = replay(folds, [policy_named("pop")], out=tmp_path, ks=(5, 3))
    found = summary(run, protocol="temporal")
    (policy,) = found.policies
    values = [accuracy(run.lists(f.name, "pop", 0).hits, f.n_targets, [5])["ndcg@5"] for f in folds]
    users = np.concatenate([f.users for f in folds])
    assert len(np.unique(users)) < len(users)
    expected = interval(np.concatenate(values), users=users)
    assert policy.metrics["ndcg@5"].low == expected.low
    assert policy.by_fold.keys() == {f.name for f in folds}
    assert policy.by_fold[folds[1].name]["ndcg@5"] == pytest.approx(values[1].mean())
    together = np.concatenate([run.lists(f.name, "pop", 0).items for f in folds])
    assert policy.metrics["coverage@5"].mean == pytest.approx(coverage(together, folds[0].candidates))
    history = next(g for g in policy.groups if g.by == "history")
    assert "new" in history.groups
    assert history.groups["new"].n > 0


def test_rounds_are_summed_up(tmp_path: Path) -> None:
    fold = futures(LOG)
    run = replay([fold], policies_named("pop,random"), out=tmp_path, ks=(5, 3), rounds=3, seeds=(0, 1))
    for policy in summary(run).policies:
        played = [run.lists(fold.name, policy.name, seed).accepted for seed in policy.seeds]
        assert [r.round for r in policy.rounds] == [1, 2, 3]
        for at, one in enumerate(policy.rounds):
            assert one.accepted.mean == pytest.approx(np.mean([p[:, at].mean() for p in played]))
            shares = [(p[:, : at + 1].sum(axis=1) / fold.n_targets).mean() for p in played]
            assert one.recall.mean == pytest.approx(np.mean(shares))


def test_scores_that_are_no_numbers_are_counted_in_the_result(tmp_path: Path) -> None:
    class Broken:
        name, n_items = "nan", ITEMS

        def score_many(self, pasts: Pasts) -> np.ndarray:
            return np.full((len(pasts), ITEMS), np.nan, dtype=np.float32)

    nan = Policy("nan", lambda inputs: Broken())
    found = summary(replay([loo(LOG)], [nan, policy_named("pop")], out=tmp_path, ks=(5, 3)))
    assert found.policies[0].unfit == USERS
    assert found.policies[0].metrics["ndcg@5"].mean == 0
    assert found.policies[0].metrics["novelty@5"].mean is None
    assert found.policies[0].status == "done"


def test_what_a_model_tells_of_itself_is_kept(tmp_path: Path) -> None:
    def fit(inputs: PolicyInputs) -> Model:
        model = policy_named("pop").fit(inputs)
        model.figures = {"tokens": 100 + inputs.seed}  # type: ignore[attr-defined]
        return model

    run = replay([loo(LOG)], [Policy("talks", fit, random=True)], out=tmp_path, seeds=(1, 3), ks=(5, 3))
    assert summary(run).policies[0].figures == {"tokens": 102}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "nope"}, "baseline 'nope' is none of the policies: pop, itemknn"),
        ({"ks": (6,)}, "lists of 5 items were kept"),
        ({"ks": ()}, "lists of 5 items were kept"),
        ({"ks": (5, 0)}, "lists of 5 items were kept"),
    ],
)
def test_what_cannot_be_measured(run: Replay, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        summary(run, **options)


def test_nothing_but_ratings_is_enough(run: Replay) -> None:
    found = summary(run, measures=Measures())
    assert not any(name.startswith(("ild", "calibration")) for name in found.policies[0].metrics)
    assert {g.by for g in found.policies[0].groups} == {"activity", "items"}


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.0, 0.5, float("nan")])), min_size=1, max_size=12))
@settings(deadline=None)
def test_values_of_a_user_are_averaged(pairs: list[tuple[int, float]]) -> None:
    users = np.array([user for user, _ in pairs])
    values = np.array([value for _, value in pairs])
    found = per_user(values[:, None], users)[:, 0]
    for at, user in enumerate(np.unique(users)):
        own = values[(users == user) & ~np.isnan(values)]
        assert np.isnan(found[at]) if len(own) == 0 else found[at] == pytest.approx(own.mean())


def test_labels_of_items() -> None:
    items = [
        Item(id="a", title="a", attributes={"genres": ("Drama", "Comedy")}),
        Item(id="b", title="b"),
        Item(id="c", title="c", attributes={"genres": ("Comedy",)}),
    ]
    labels = measures_of(Catalogue.of(items), {}).labels
    assert labels is not None
    assert labels.toarray().tolist() == [[1, 1], [0, 0], [1, 0]]
    brands = [replace(item, attributes={"category": "x" if item.id == "a" else "y"}) for item in items]
    single = measures_of(Catalogue.of(brands), {})
    assert single.labels_name == "category"
    assert single.labels is not None
    assert single.labels.toarray().tolist() == [[1, 0], [0, 1], [0, 1]]
    assert measures_of(None, {}).labels is None
