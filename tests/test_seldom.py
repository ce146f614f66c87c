"""That people seldom choose something is said where the log's counts say so, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.ranking.base import Contribution, Ranked
from llm4rec.tools import seldom
from llm4rec.tools.base import TurnContext
from llm4rec.tools.claims import item_claims
from llm4rec.tools.counterfactual import Left
from llm4rec.tools.evidence import Reason, past_reason, unsupported
from llm4rec.tools.results import Evidence
from llm4rec.tools.seldom import bears_out, seldom_record

TEXT = "people who chose Alien, which you did not like, seldom choose this"


def reason(*records: str, text: str = TEXT, slots: tuple[str, ...] = ("Alien",)) -> Reason:
    told = [Evidence(id=f"pair:a:{at}", text=record) for at, record in enumerate(records)]
    return Reason("behaviour", text, (Evidence(id="event:1", text="you said: dislike, Alien"), *told), Left(), slots)


@pytest.mark.parametrize(
    ("record", "holds"),
    [
        ("3 of the 100 people who chose Alien chose Heat; of all 1000 it was 200", True),
        ("10 of the 100 people who chose Alien chose Heat; of all 1000 it was 200", True),
        ("11 of the 100 people who chose Alien chose Heat; of all 1000 it was 200", False),
        ("40 of the 100 people who chose Alien chose Heat; of all 1000 it was 200", False),
        ("0 of the 3 people who chose Alien chose Heat; of all 1000 it was 200", False),
        ("3 of the 100 people who chose Aliens chose Heat; of all 1000 it was 200", False),
        ("3 people chose both Alien and Heat", False),
    ],
)
def test_what_counts_bear_out(record: str, holds: bool) -> None:
    assert bears_out(record, "Alien") == holds
    assert (unsupported(reason(record)) == ()) == holds


def test_every_one_that_is_named_is_counted() -> None:
    text = "people who chose Alien and Brazil, which you did not like, seldom choose this soon after"
    both = ("Alien", "Brazil")
    fine = [f"3 of the 100 people who chose {one} chose Heat; of all 1000 it was 200" for one in both]
    assert unsupported(reason("in your log: Brazil", *fine, text=text, slots=both)) == ()
    assert unsupported(reason("in your log: Brazil", fine[0], text=text, slots=both))
    assert unsupported(reason())


def test_counts_are_those_of_the_log(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seldom, "LEAST_EXPECTED", 0.1)
    context = TurnContext(user="kim", thread="t", message="", knowledge=recommender.knowledge)
    chose = recommender.knowledge.interactions.matrix().toarray()
    ids = recommender.knowledge.catalogue.ids
    told = 0
    for way in (seldom.people_in_common, lambda *_: None):  # by the graph, and by the log
        monkeypatch.setattr(seldom, "people_in_common", way)
        for past in range(0, len(ids), 7):
            for row in range(1, len(ids), 5):
                first, second = float(chose[:, past].sum()), float(chose[:, row].sum())
                both = float((chose[:, past] * chose[:, row]).sum())
                expected = first * second / len(chose)
                record = seldom_record(context, past, row)
                assert (record is not None) == (past != row and expected >= 0.1 and both <= 0.5 * expected)
                if record is not None:
                    told += 1
                    assert record.text.startswith(f"{both:.0f} of the {first:.0f} people who chose ")
                    assert record.text.endswith(f"; of all {len(chose)} it was {second:.0f}")
    assert told > 20


def test_a_claim_that_counts_do_not_bear_out_is_not_made(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = recommender.knowledge.catalogue.ids
    recommender.feedback("kim", "dislike", ids[0])
    context = TurnContext(user="kim", thread="t", message="", knowledge=recommender.knowledge)
    ref = f"event:{context.profile.items[ids[0]].event_id}"
    chose = recommender.knowledge.interactions.matrix().toarray()
    together = (chose[:, [0]] * chose).sum(axis=0)
    expected = chose[:, 0].sum() * chose.sum(axis=0) / len(chose)
    monkeypatch.setattr(seldom, "LEAST_EXPECTED", 0.1)
    often = int(np.flatnonzero(together > expected)[1])
    rare = int(np.flatnonzero((together <= 0.5 * expected) & (expected >= 0.1))[0])
    for row, said in ((often, False), (rare, True)):
        given = (Contribution(ref, 0, 0.5, "ease", True),)
        ranked = Ranked(row=row, score=2.0, parts={"ease": 1.0}, contributions=given)
        claims = item_claims(context, recommender.knowledge.catalogue.item(row), ranked=ranked)
        assert any("seldom" in claim.text for claim in claims) == said
        made = past_reason(context, recommender.knowledge.catalogue.item(row), ranked, "ease", given)
        assert (unsupported(made) == ()) == said
    assert any("of the" in context.evidence[one].text for claim in claims for one in claim.evidence)
