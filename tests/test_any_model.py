"""Any other GGUF chat model converses without code of its own: an untuned one, and one that says random things."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_llama
from llm4rec.agent.llm import ChatLlamaCpp
from llm4rec.agent.recommender import Recommender
from llm4rec.agent.weights import bundled_path
from llm4rec.tools.results import Turn

MESSAGES = ("something light for the kitchen", "why the first one?", "I hate red things")


def converse(shop: Path, model: Path) -> list[Turn]:
    with Recommender.open(shop, llm=str(model)) as recommender:
        turns = [recommender.chat("ana", text, thread="t") for text in MESSAGES]
        titles = set(recommender.knowledge.catalogue.frame["title"].to_list())
        kept = [event.id for event in recommender.knowledge.store.events("ana")]
        assert isinstance(recommender._model, ChatLlamaCpp)
        assert recommender._model.source.adapter is None
    assert kept == [one for turn in turns for one in turn.events]
    assert all(card.title in titles for turn in turns for card in turn.cards)
    assert not [notice for turn in turns for notice in turn.notices if "failed inside" in notice]
    return turns


@pytest.mark.slow
def test_the_untuned_base_as_a_plain_file(shop: Path) -> None:
    turns = converse(shop, bundled_path())
    assert all(turn.model_calls for turn in turns)
    assert turns[0].reply


@pytest.mark.slow
def test_a_model_of_another_vocabulary_and_template(shop: Path, tmp_path: Path) -> None:
    """Its weights are random and its template takes no system text: whatever it says is a plan or a short reply."""
    model = tiny_llama.write(tmp_path / "tiny.gguf", context=16_384)
    turns = converse(shop, model)
    assert all(turn.model_calls for turn in turns)
