"""What is said of an item: of each part its own words, and nothing of what did not put it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.catalog.items import Item
from llm4rec.ranking.base import Contribution, Ranked
from llm4rec.tools.base import TurnContext
from llm4rec.tools.claims import asked_claim, item_claims, plain_claim, popularity_claim
from llm4rec.tools.results import Claim

USER = "u1"


def said(recommender: Recommender, parts: Mapping[str, float], *by: tuple[str, float, bool], user: str = USER) -> Claim:
    """The first claim of an item the user does not know, from contributions (part, amount, direct) of one they do."""
    knowledge = recommender.knowledge
    known = int(knowledge.interactions.of_user(USER).items[-1])
    context = TurnContext(user=user, thread="t", message="", knowledge=knowledge)
    row = _near(recommender, known)
    contributions = tuple(
        Contribution(f"log:{USER}:{knowledge.catalogue.ids[known]}", known, amount, part, direct)
        for part, amount, direct in by
    )
    ranked = Ranked(row=row, score=2.0, parts=parts, contributions=contributions)
    claim = item_claims(context, knowledge.catalogue.item(row), ranked=ranked)[0]
    assert set(claim.evidence) <= set(context.evidence)
    return claim


def _near(recommender: Recommender, known: int) -> int:
    """An unknown item with the brand of a known one."""
    brands = recommender.knowledge.catalogue.frame["brand"].to_list()
    seen = set(recommender.knowledge.interactions.of_user(USER).items.tolist())
    return next(row for row in range(len(brands)) if row not in seen and brands[row] == brands[known])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("transitions", "chose this soon after"),
        ("ease", "also chose this"),
        ("text", "close in content to"),
        ("image", "its picture is close to that of"),
    ],
)
def test_each_part_has_its_words(recommender: Recommender, part: str, words: str) -> None:
    claim = said(recommender, {part: 1.0}, (part, 0.5, True))
    assert words in claim.text or part in ("text", "image")
    assert claim.evidence[0].startswith(f"log:{USER}:")
    assert claim.evidence[-1].startswith(f"model:{part}:")


def test_a_path_in_the_graph_is_told(recommender: Recommender) -> None:
    claim = said(recommender, {"graph": 1.0}, ("graph", 0.5, True))
    assert "people chose both" in claim.text or "shares " in claim.text
    assert claim.evidence[-1].startswith("model:graph:")


@pytest.mark.parametrize(
    ("parts", "by"),
    [
        ({"ease": -1.0, "popularity": 1.0}, ("ease", 0.5, True)),
        ({"ease": 1.0, "popularity": 1.0}, ("ease", 0.5, False)),
        ({"ease": 1.0, "popularity": 1.0}, ("ease", -0.5, True)),
    ],
)
def test_what_pulls_it_down_is_no_reason(
    recommender: Recommender, parts: Mapping[str, float], by: tuple[str, float, bool]
) -> None:
    claim = said(recommender, parts, by)
    assert claim.text.startswith("widely chosen")
    assert ("nothing personal" in claim.text) == (parts["ease"] < 0)


def test_the_transformer_is_told_as_a_whole_and_only_of_somebody_known(recommender: Recommender) -> None:
    parts = {"sequence": 1.0, "popularity": 1.0}
    claim = said(recommender, parts)
    assert claim.text == "follows from what you chose lately, taken together"
    assert [record.split(":")[:2] for record in claim.evidence] == [["model", "sequence"]]
    alone = said(recommender, parts, user="nobody at all").text
    assert alone.startswith("widely chosen")
    assert alone.endswith("nothing personal put it here")
    assert "also chose" in said(recommender, parts | {"ease": 1.0}, ("ease", 0.5, True)).text


CAST = ("Ann Abel", "Bob Baker", "Cy Cole", "Di Dunn", "Ed Eames", "Flo Fox")
FILM = Item(id="p0", title="Film", attributes={"cast": CAST, "genres": ("Horror",), "year": 1990.0})


def test_what_was_asked_for_is_told_wherever_it_stands(recommender: Recommender) -> None:
    def told(cited: tuple[str, ...], *labels: str) -> str:
        context = TurnContext(user=USER, thread="t", message="", knowledge=recommender.knowledge)
        (claim,) = asked_claim(context, FILM, cited, labels)
        assert all(claim.evidence[at].endswith(name) for at, name in enumerate(cited))
        return claim.text

    assert told(("cast",), "Flo Fox") == "as asked: cast Flo Fox"
    assert told(("genres", "cast", "year"), "horror", "fox") == "as asked: genre Horror; cast Flo Fox; year 1990"
    assert told(("cast",)) == "as asked: cast Ann Abel, Bob Baker, Cy Cole, Di Dunn and 2 more"


def test_a_filtered_list_tells_the_label_that_was_asked_for(recommender: Recommender) -> None:
    turn = recommender.call("kim", "recommend", {"brand": "Acme"})
    assert {claim.text for card in turn.cards for claim in card.claims if claim.text.startswith("as asked")} == {
        "as asked: brand Acme"
    }


def test_one_is_told_as_one(recommender: Recommender) -> None:
    counts = recommender.knowledge.counts.copy()
    counts[0] = 1
    context = TurnContext(user=USER, thread="t", message="", knowledge=replace(recommender.knowledge, counts=counts))
    item = recommender.knowledge.catalogue.item(0)
    claim = popularity_claim(context, item, Ranked(row=0, score=1.0, parts={"popularity": 1.0}, contributions=()))
    assert claim.text.startswith("widely chosen (1 person)")
    assert context.evidence[claim.evidence[0]].text == "1 person chose it in the log"
    only = Item(id="p1", title="Film", attributes={"genres": ("Horror",)})
    assert plain_claim(context, only).text == "genre: Horror"
