"""What is said of an item: of each part its own words, and nothing of what did not put it there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.ranking.base import Contribution, Ranked
from llm4rec.tools.base import TurnContext
from llm4rec.tools.claims import item_claims
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
