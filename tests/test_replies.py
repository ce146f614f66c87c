"""Examples of replies: each says only what its prompt holds."""

from __future__ import annotations

from llm4rec.agent.tuning.replies import filled, phrasings, reply_examples
from llm4rec.graphs.writing import PROMPT_LIMIT
from llm4rec.tools.checking import check_text


def test_there_are_enough_phrasings_and_no_two_alike() -> None:
    assert len(phrasings()) >= 250
    assert len({phrasing.reply for phrasing in phrasings()}) == len(phrasings())
    assert {len(phrasing.cards) for phrasing in phrasings()} == {1, 2, 3}


def test_every_filled_example_passes_the_checker() -> None:
    for example in filled(500, seed=11):
        failed = [verdict for verdict in check_text(example.answer, example.grounds) if not verdict.ok]
        assert not failed, (failed, example.messages[-1].content)


def test_examples_are_those_of_their_seed_and_within_bounds() -> None:
    first, again, other = (reply_examples(40, seed) for seed in (1, 1, 2))
    assert first == again != other
    for messages, answer in first:
        assert [message.type for message in messages] == ["system", "human"]
        assert len(str(messages[1].content)) <= PROMPT_LIMIT + 10
        assert 0 < len(answer) <= 235
