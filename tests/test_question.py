"""Asking back: a question's value against its definition, which one is chosen, when one may be asked, the replies."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.agent.recommender import Recommender
from llm4rec.graphs.conversation import Conversation
from llm4rec.graphs.rules import RulePlanner
from llm4rec.profiles.posterior import Observation, Posterior, fold
from llm4rec.ranking.fused_ranker import FusedRanker
from llm4rec.ranking.question import (
    EVERY,
    QuestionConfig,
    best_question,
    directions,
    expected_information,
    information,
    label_fits,
    leanings,
    may_ask,
    question_text,
)
from llm4rec.ranking.space import ItemSpace, SpaceInfo
from llm4rec.tools.results import Turn
from numpy.typing import NDArray
from scipy.special import ndtr

D = 5
KINDS = ("Comedy", "Crime", "Drama", "War")
EACH = 15
N = EACH * len(KINDS)
#: Any question that tells anything is asked.
ALWAYS = QuestionConfig(least=1e-9)


def a_space(seed: int = 0, own: float = 0.05) -> ItemSpace:
    """Four kinds of items, each along an axis of its own, `own` apart; the last axis is what is popular."""
    rng = np.random.default_rng(seed)
    asked = own * rng.normal(size=(N, D))
    for kind in range(len(KINDS)):
        asked[EACH * kind : EACH * (kind + 1), kind] += 1.0
    asked[:, -1] = rng.uniform(0.1, 0.2, size=N)
    mean = np.zeros(D)
    mean[-1] = 1.0
    info = SpaceInfo(n_users=9, interactions=99, window=5, noise=1, keep=1.0, shrink=0, views={}, learned_on=0)
    faces = asked.astype(np.float32)
    return ItemSpace(faces, faces, np.ones(N, dtype=np.float32), mean, np.array([1.0, 1.0, 1.0, 1.0, 1e-4]), info)


def column() -> pl.Series:
    return pl.Series("genres", [[KINDS[row // EACH], "Film"] for row in range(N)])


def seen(space: ItemSpace, *looks: tuple[int, float, float]) -> Posterior:
    """What is known after looks along axes: which, what was seen, how surely."""
    eye = np.eye(D)
    return fold(
        space.prior, [Observation(eye[axis], target, sure, float(at)) for at, (axis, target, sure) in enumerate(looks)]
    )


def everything() -> NDArray[np.int64]:
    return np.arange(N, dtype=np.int64)


def entropy(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(chance, 1e-300, 1.0)
    return -inside * np.log(inside)


# The value of an answer.


@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(0.2, 3))
def test_information_is_the_integral_it_is_said_to_be(mean: float, told: float, rest: float) -> None:
    x = np.linspace(-9, 9, 6001)
    weight = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])

    def undecided(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return entropy(ndtr(z)) + entropy(ndtr(-z))

    before = undecided(np.array([mean / math.sqrt(told + rest)]))[0]
    after = float(weight @ undecided((mean + math.sqrt(told) * x) / math.sqrt(rest)))
    found = information(np.array([mean]), np.array([told]), np.array([rest]))[0]
    assert found == pytest.approx(max(before - after, 0.0), abs=1e-4)


@given(st.floats(-50, 50), st.floats(0, 100), st.floats(0, 100))
def test_information_lies_between_nothing_and_a_yes_or_no(mean: float, told: float, rest: float) -> None:
    found = information(np.array([mean]), np.array([told]), np.array([rest]))[0]
    assert 0 <= found <= math.log(2) + 1e-9
    if told == 0:
        assert found == pytest.approx(0, abs=1e-9)


def test_an_answer_of_somebody_unknown_tells_what_the_threshold_is_a_third_of() -> None:
    """The noise of a statement is half of the population's deviation: r = v / 4."""
    most = information(np.array([0.0]), np.array([1.0]), np.array([0.25]))[0]
    assert most == pytest.approx(0.37, abs=0.01)
    assert QuestionConfig().least == pytest.approx(most / 3, abs=0.01)


@given(st.integers(0, 2**16), st.integers(0, 6), st.integers(1, 12))
def test_what_the_candidates_tell_is_what_looking_at_their_scores_would_tell(seed: int, looks: int, many: int) -> None:
    """The closed form against the posterior itself, which looks at one score after the other."""
    rng = np.random.default_rng(seed)
    space = a_space(seed % 7)
    state = seen(space, *((int(rng.integers(D - 1)), float(rng.normal()), 2.0) for _ in range(looks)))
    candidates = space.asked[rng.permutation(N)[:many]].astype(np.float64)
    faces = rng.normal(size=(3, D))
    variance, told = leanings(state, faces, candidates)
    sharp = float(state.scores(candidates).var())
    if sharp < 1e-6:
        return
    after = state
    for against in candidates - candidates.mean(axis=0):
        if np.abs(against).max() > 1e-9:
            after = after.after(Observation(against, 0.0, 1 / sharp, None))
    for one in range(3):
        for other in range(3):
            apart = faces[one] - faces[other]
            assert variance[one, other] == pytest.approx(float(apart @ state.covariance @ apart), abs=1e-6)
            left = float(apart @ after.covariance @ apart)
            assert variance[one, other] - told[one, other] == pytest.approx(left, abs=1e-6)


@given(st.integers(0, 2**16), st.integers(0, 5))
def test_values_are_symmetric_bounded_and_nothing_for_one_kind_against_itself(seed: int, looks: int) -> None:
    rng = np.random.default_rng(seed)
    space = a_space()
    state = seen(space, *((int(rng.integers(D - 1)), float(rng.normal()), 4.0) for _ in range(looks)))
    _, fits = label_fits(column(), everything())
    values = expected_information(state, directions(space, fits), space.asked.astype(np.float64))
    np.testing.assert_allclose(values, values.T, atol=1e-9)
    assert not np.diag(values).any()
    assert (values >= 0).all()
    assert values.max() <= math.log(2)


def values_of(state: Posterior, space: ItemSpace, rows: NDArray[np.int64]) -> dict[frozenset[str], float]:
    names, fits = label_fits(column(), everything())
    values = expected_information(state, directions(space, fits), space.asked[rows].astype(np.float64))
    pairs = [(one, other) for one in range(len(names)) for other in range(one)]
    return {frozenset((names[one], names[other])): float(values[one, other]) for one, other in pairs}


def test_what_is_known_is_worth_less_and_what_is_decided_nothing() -> None:
    space = a_space()
    pair = frozenset(("Comedy", "Crime"))
    unknown = values_of(seen(space), space, everything())[pair]
    surer = values_of(seen(space, (0, 0.0, 10.0), (1, 0.0, 10.0)), space, everything())[pair]
    decided = values_of(seen(space, (0, 2.5, 1000.0), (1, -2.5, 1000.0)), space, everything())[pair]
    leaning = values_of(seen(space, (0, 1.5, 2.0), (1, -1.5, 2.0)), space, everything())[pair]
    assert unknown > surer > decided
    assert unknown > leaning > decided
    assert decided < 0.001


def test_kinds_that_no_candidate_is_of_are_worth_nothing() -> None:
    space = a_space(own=0.0)
    pair = frozenset(("Drama", "War"))
    assert values_of(seen(space), space, everything())[pair] > 0.3
    assert values_of(seen(space), space, np.arange(EACH, dtype=np.int64))[pair] == pytest.approx(0, abs=1e-9)


def test_the_answer_settles_which_item_is_best_more_than_that_to_another_question() -> None:
    """By drawing tastes, answers, and tastes again: the entropy of the kind of the best item falls most."""
    space = a_space()
    state = seen(space, (2, -1.0, 50.0), (3, -1.0, 50.0))
    found = best_question(state, space, column(), everything(), config=ALWAYS)
    assert found is not None
    assert set(found.labels) == {"Comedy", "Crime"}
    names, fits = label_fits(column(), everything())
    faces = directions(space, fits)

    def settled(labels: tuple[str, str]) -> float:
        rng = np.random.default_rng(1)
        face = faces[names.index(labels[0])] - faces[names.index(labels[1])]
        noise = float(face @ space.prior.covariance @ face) / 4
        tastes = state.mean + rng.standard_normal((20_000, D)) @ np.linalg.cholesky(state.covariance).T
        yes = tastes @ face + math.sqrt(noise) * rng.standard_normal(len(tastes)) > 0
        best = (tastes @ space.asked.T).argmax(axis=1) // EACH

        def unsure(those: NDArray[np.bool_]) -> float:
            shares = np.bincount(best[those], minlength=len(KINDS)) / max(int(those.sum()), 1)
            return float(entropy(shares).sum())

        share = float(yes.mean())
        return unsure(np.ones(len(yes), dtype=np.bool_)) - share * unsure(yes) - (1 - share) * unsure(~yes)

    assert settled(found.labels) > 0.1
    for labels in (("Drama", "War"), ("Comedy", "Drama"), ("Crime", "War")):
        assert settled(found.labels) > settled(labels), labels


# Which question.


def test_labels_are_those_that_candidates_carry_and_that_are_words_to_ask_with() -> None:
    labels = [["Comedy", "Film"]] * 6 + [["Crime"]] * 4 + [["War"]] * 2 + [[" "], [], None, ["x" * 60]]
    rows = np.arange(len(labels), dtype=np.int64)
    names, fits = label_fits(pl.Series("genres", labels), rows)
    assert names == ["Comedy", "Film", "Crime"]
    assert fits.sum(axis=1).tolist() == [6, 6, 4]
    assert label_fits(pl.Series("genres", labels), rows[:6])[0] == ["Comedy", "Film"]
    assert label_fits(pl.Series("genres", labels), rows, QuestionConfig(labels=1))[0] == ["Comedy"]
    assert label_fits(pl.Series("genres", labels), rows, QuestionConfig(carried=9))[0] == []
    single = pl.Series("genre", ["Comedy"] * 3 + ["Crime"] * 3)
    assert label_fits(single, np.arange(6, dtype=np.int64))[0] == ["Comedy", "Crime"]


def test_kinds_that_go_together_are_no_choice() -> None:
    space = a_space()
    labels = pl.Series("genres", [[KINDS[row // EACH], "Film", f"{KINDS[row // EACH]} film"] for row in range(N)])
    asked: list[frozenset[str]] = []
    while (found := best_question(seen(space), space, labels, everything(), config=ALWAYS, asked=asked)) is not None:
        first, second = found.labels
        assert "Film" not in found.labels, "all are films"
        assert first.split()[0] != second.split()[0], "a comedy film is a comedy"
        asked.append(frozenset(found.labels))
    assert len(asked) == len(set(asked)) == 6 * 4


def test_the_best_question_is_asked_where_it_reaches_the_threshold() -> None:
    space = a_space()
    state = seen(space, (2, 0.0, 100.0), (3, 0.0, 100.0))
    found = best_question(state, space, column(), everything(), config=ALWAYS)
    assert found is not None
    assert found.labels == ("Comedy", "Crime")
    assert found.nats == pytest.approx(max(values_of(state, space, everything()).values()))
    assert best_question(state, space, column(), everything(), config=QuestionConfig(least=0.7)) is None
    just = replace(ALWAYS, least=found.nats)
    assert best_question(state, space, column(), everything(), config=just) == found
    again = best_question(state, space, column(), everything(), config=ALWAYS, asked=[frozenset(found.labels)])
    assert again is not None
    assert set(again.labels) != set(found.labels)


def test_with_nothing_to_choose_from_nothing_is_asked() -> None:
    space = a_space()
    none = np.zeros(0, dtype=np.int64)
    beyond = np.arange(N, N + 9, dtype=np.int64)
    labels = pl.Series("genres", [*column().to_list(), *([["Comedy"]] * 9)])
    assert best_question(seen(space), space, column(), none, config=ALWAYS) is None
    assert best_question(seen(space), space, labels, beyond, config=ALWAYS) is None
    assert best_question(seen(space), space, column(), everything()[:EACH], config=ALWAYS) is None
    live = best_question(seen(space), space, labels, np.concatenate([everything(), beyond]), config=ALWAYS)
    assert live is not None


@pytest.mark.parametrize(
    ("labels", "tonight", "text"),
    [
        (("Crime", "Comedy"), True, "Crime or comedy tonight?"),
        (("Crime", "Sci-Fi"), True, "Crime or sci-fi tonight?"),
        (("Desk", "Office Products"), False, "Desk or office products?"),
        (("Books", "TV"), False, "Books or TV?"),
        (("mugs", "McQueen"), False, "mugs or McQueen?"),
    ],
)
def test_a_question_in_words(labels: tuple[str, str], tonight: bool, text: str) -> None:
    assert question_text(labels, tonight=tonight) == text


@given(st.lists(st.booleans(), max_size=60))
def test_no_three_turns_hold_two_questions(pays: list[bool]) -> None:
    asked: list[int] = []
    for turn, worth in enumerate(pays, start=1):
        if worth and may_ask(turn, asked):
            asked.append(turn)
    assert all(later - earlier >= EVERY for earlier, later in pairwise(asked))
    assert all(sum(turn in asked for turn in range(start, start + 3)) <= 1 for start in range(len(pays)))
    if any(pays):
        assert asked[0] == pays.index(True) + 1, "the first that pays is asked"


# In conversation.


def asking(recommender: Recommender, config: QuestionConfig | None) -> Recommender:
    """The same with another threshold."""
    rules = RulePlanner(recommender.facets, recommender._read_mentions)
    conversation = Conversation(planner=rules, fallback=rules, toolbox=recommender.tools, asking=config)
    recommender._graph = conversation.graph(recommender._saver)
    return recommender


@pytest.fixture
def curious(recommender: Recommender) -> Recommender:
    return asking(recommender, ALWAYS)


def test_a_list_of_the_best_ends_with_a_question_one_turn_in_three(curious: Recommender) -> None:
    turns = [curious.chat("new", "surprise me") for _ in range(7)]
    assert [turn.question is not None for turn in turns] == [True, False, False, True, False, False, True]
    known = {label for labels in curious.knowledge.catalogue.frame["categories"].to_list() for label in labels}
    pairs = []
    for turn in turns:
        assert turn.cards, "the list is given all the same"
        if turn.question is None:
            assert not turn.reply.endswith("?")
            continue
        assert turn.reply.endswith(turn.question.text)
        assert set(turn.question.labels) <= known
        assert "Office" not in turn.question.labels, "all are for the office"
        assert 0 < turn.question.nats <= math.log(2)
        pairs.append(frozenset(turn.question.labels))
    assert len(set(pairs)) == 3, "nobody is asked the same again"
    asked = curious._state("new", "main")["asked"]
    assert [one["turn"] for one in asked] == [1, 4, 7]
    assert [frozenset(one["labels"]) for one in asked] == pairs


def test_the_bare_label_is_an_answer(curious: Recommender) -> None:
    first = curious.chat("new", "surprise me")
    assert first.question is not None
    for label in first.question.labels:
        answered = curious.chat("new", label.lower())
        assert answered.cards
        assert all(label in str(card.attributes["categories"]) for card in answered.cards)
        assert answered.question is None


@pytest.mark.parametrize("message", ["warm light for my desk", "something by Acme", "hello", "what have I rated?"])
def test_nothing_is_asked_back_where_something_was_asked_for(curious: Recommender, message: str) -> None:
    assert curious.chat("u1", message).question is None
    assert curious.chat("u1", "surprise me").question is not None, "and such a turn was no question"


def test_threads_and_users_are_asked_apart_and_a_restart_changes_nothing(shop: Path) -> None:
    def asked(turn: Turn) -> bool:
        return turn.question is not None

    with Recommender.open(shop, llm="rules") as before:
        asking(before, ALWAYS)
        assert asked(before.chat("new", "surprise me"))
        assert asked(before.chat("new", "surprise me", thread="other"))
        assert asked(before.chat("else", "surprise me"))
    with Recommender.open(shop, llm="rules") as after:
        asking(after, ALWAYS)
        assert not asked(after.chat("new", "surprise me"))
        assert not asked(after.chat("new", "surprise me"))
        assert asked(after.chat("new", "surprise me"))


def test_where_no_answer_tells_enough_or_none_is_wanted_nothing_is_asked(recommender: Recommender) -> None:
    for config in (QuestionConfig(least=0.69), None):
        turn = asking(recommender, config).chat("new", "surprise me")
        assert turn.question is None
        assert "asked" not in recommender._state("new", "main")


def test_without_a_posterior_nothing_is_asked(curious: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FusedRanker, "explores", property(lambda self: False))
    turn = curious.chat("new", "surprise me")
    assert turn.cards
    assert (turn.question, turn.notices) == (None, ())


def test_a_question_that_cannot_be_chosen_costs_no_list(curious: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("llm4rec.graphs.conversation.ask", broken)
    turn = curious.chat("new", "surprise me")
    assert turn.cards
    assert turn.question is None
    assert any("ZeroDivisionError" in notice for notice in turn.notices)


def test_what_was_refused_is_not_asked_about(curious: Recommender) -> None:
    turn = curious.chat("new", "I hate Audio")
    assert turn.cards
    assert turn.question is None or "Audio" not in turn.question.labels
    for _ in range(6):
        later = curious.chat("new", "surprise me").question
        assert later is None or "Audio" not in later.labels


def test_json_carries_the_question(curious: Recommender) -> None:
    document = curious.chat("new", "surprise me").model_dump(mode="json")
    assert set(document["question"]) == {"labels", "text", "nats"}
    assert len(document["question"]["labels"]) == 2
    assert document["reply"].endswith(document["question"]["text"])
