"""The corpus: phrasings that fit their tools, slots, typing errors, examples."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent.tuning.examples import Example, examples
from llm4rec.agent.tuning.noise import mistyped, unsigned
from llm4rec.agent.tuning.phrasings import Phrasing, read_phrasings
from llm4rec.agent.tuning.shells import DOMAINS, lexicon, make_shell
from llm4rec.agent.tuning.slots import SLOT, fill
from llm4rec.agent.tuning.variants import own_variant, variants_of
from llm4rec.catalog.demo import films
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.text import fold
from llm4rec.graphs.encoding import decode_plan

WRITTEN = read_phrasings()


@pytest.fixture(scope="module")
def made() -> list[Example]:
    return examples(WRITTEN, 9000, seed=3)


def test_there_are_many_phrasings_and_no_two_are_alike() -> None:
    assert len(WRITTEN) >= 1000
    said = Counter((fold(one.say), str(one.past)) for one in WRITTEN)
    assert max(said.values()) == 1
    assert {one.domain for one in WRITTEN} == {*DOMAINS, "any"}


def test_some_are_kept_from_training() -> None:
    share = sum(one.is_dev for one in WRITTEN) / len(WRITTEN)
    assert 0.05 < share < 0.12


def test_eight_thousand_examples_fit_their_tools(made: list[Example]) -> None:
    """Plans are checked against the tools' schemas where examples are made."""
    assert len(made) >= 8000
    assert not any(SLOT.search(text) for one in made for _, text in (*one.turns, ("", one.answer)))
    assert len({(one.turns, one.answer) for one in made}) > 0.95 * len(made)
    plans = [decode_plan(one.answer) for one in made if one.answer.startswith("[")]
    assert {len(plan) for plan in plans} == {1, 2, 3}
    assert len(plans) < len(made)
    called = Counter(call["name"] for plan in plans for call in plan)
    assert set(called) == set(variants_of("films")[0].tools)


def test_a_prompt_ends_with_what_was_said(made: list[Example]) -> None:
    for one in made:
        roles = [role for role, _ in one.turns]
        assert roles == ["human", "ai"] * (len(roles) // 2) + ["human"]


def test_the_same_seed_makes_the_same_examples() -> None:
    assert examples(WRITTEN[:200], 300, seed=1) == examples(WRITTEN[:200], 300, seed=1)
    assert examples(WRITTEN[:200], 300, seed=1) != examples(WRITTEN[:200], 300, seed=2)


def test_no_title_of_the_demo_is_trained_on() -> None:
    demo = {fold(title) for title in films().frame["title"].to_list()}
    assert not demo & {fold(title) for title in lexicon()["films"]["titles"]}


# -- slots ------------------------------------------------------------------------------------------------------


def phrasing(**fields: object) -> Phrasing:
    return Phrasing.model_validate({"kind": "k", "domain": "films", **fields})


def test_a_slot_is_the_same_thing_throughout() -> None:
    one = phrasing(
        say="loved {t1}, a {g1n} from {d1} with {p1}?",
        plan=[
            ["record_feedback", {"verdict": "like", "title": "{t1}"}],
            ["search_items", {"genres": "{g1}", "year_min": "{d1.min}", "year_max": "{d1.max}", "named": "{p1}"}],
        ],
    )
    for seed in range(30):
        filled = fill(one, "films", Random(seed))
        (_, feedback), (_, search) = filled.plan
        assert feedback["title"] in filled.say
        assert search["named"] in filled.say
        assert search["year_max"] - search["year_min"] == 9
        assert search["genres"] in lexicon()["films"]["labels"]
        assert not filled.titles


def test_without_capitals_the_plan_copies_what_was_written() -> None:
    one = phrasing(say="{t1}?", plan=[["describe_item", {"title": "{t1}"}]])
    filled = fill(one, "films", Random(4), lower=True)
    assert filled.plan[0][1]["title"] == filled.say.removesuffix("?")
    assert filled.say == filled.say.lower()


def test_labels_keep_the_catalogues_spelling() -> None:
    one = phrasing(say="some {g1s}", plan=[["search_items", {"genres": "{g1}"}]])
    assert all(
        fill(one, "films", Random(seed), lower=True).plan[0][1]["genres"] in lexicon()["films"]["labels"]
        for seed in range(20)
    )


def test_articles_fit_what_follows() -> None:
    one = phrasing(say="a {m1} film", plan=[["search_items", {"query": "{m1}"}]])
    for seed in range(60):
        said = fill(one, "films", Random(seed)).say
        article, word = said.split()[:2]
        assert article == ("an" if word[0] in "aeiou" else "a")


def test_places_point_into_the_list() -> None:
    one = phrasing(say="the {n1} one, {l2}", list=True, plan=[["explain", {"ordinal": "{n1}"}]])
    filled = fill(one, "films", Random(0))
    assert len(filled.titles) == 5
    assert filled.titles[1] in filled.say
    assert 1 <= filled.plan[0][1]["ordinal"] <= 5


# -- typing -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_the_plan_copies_is_typed_rightly(seed: int) -> None:
    text = "could you please find something about lonely lighthouse keepers"
    wrong = mistyped(text, Random(seed), keep=["lonely lighthouse keepers"], share=0.9)
    assert wrong.endswith("lonely lighthouse keepers")
    assert len(wrong.split()) == len(text.split())


def test_signs_go() -> None:
    assert unsigned("Really?!", Random(0)) == "Really"
    assert {unsigned("don't.", Random(seed)) for seed in range(20)} == {"don't", "dont"}


# -- catalogues -------------------------------------------------------------------------------------------------


def test_a_label_that_is_not_there_is_asked_for_in_words(made: list[Example]) -> None:
    lacking = [one for one in made if "Musical" not in one.system.partition("genres: ")[2] and one.domain == "films"]
    assert not any('"genres":"Musical"' in one.answer for one in lacking)
    assert any(re.search(r'"query":"musical', one.answer) for one in lacking)


def test_a_catalogue_of_ones_own_is_spoken_of() -> None:
    own = films()
    found = examples(WRITTEN, 1500, seed=0, own=own)
    system = own_variant("films", own).system
    told = [one for one in found if one.system == system]
    assert 0.2 < len(told) / len(found) < 0.6
    titles = [title for title in own.frame["title"].to_list() if len(title) > 8]
    assert any(title in text for one in told for _, text in one.turns for title in titles)


def test_a_catalogue_that_little_can_be_asked_of_is_spoken_of() -> None:
    """Three items; years within a decade; titles and names too long to be arguments: what does not fit is left out."""
    small = Catalogue.of(
        [Item(f"s{at}", f"Thing {at}", attributes={"genres": (f"Kind {at}",), "year": 1990.0 + at}) for at in range(3)]
    )
    long = Catalogue.of(
        [
            Item(
                f"l{at}",
                f"Thing {at}" + ", and more to say of it" * (6 * (at % 2)),
                attributes={"brand": (f"Brand {at} " + "x" * 60 * (at % 2),), "price": 500.0 + at},
            )
            for at in range(60)
        ]
    )
    for catalogue in (small, long):
        systems = {own_variant(domain, catalogue).system for domain in DOMAINS}
        found = examples(WRITTEN, 3000, seed=1, own=catalogue)
        assert len(found) > 2900
        assert any(one.system in systems for one in found)


def test_shells_have_what_can_be_asked_for() -> None:
    for domain in DOMAINS:
        fields = make_shell(domain).tools()["search_items"].arguments.model_fields
        assert {"query", "like", "without", "named", "more", "less"} <= set(fields)
