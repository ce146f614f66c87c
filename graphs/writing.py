"""The words above a list, written by a language model and shown only as far as the evidence holds them.

The model sees the request and the claims of the first items. Each sentence is held back until it is whole and checked
(:mod:`..tools.checking`); one that does not pass is replaced by the claims of its item in their fixed wording. What
the prompt looks like is what the tuned adapter was trained on (:mod:`llm4rec.agent.tuning`): a change here asks for a
new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import ensure_config

from .. import prompts
from ..catalog.text import one_line
from ..errors import TurnError
from ..tools.base import TurnContext
from ..tools.checking import Checker, Grounds, Verdict
from ..tools.frames import called, shortened
from ..tools.results import Card, Writing
from ..tools.sentences import is_whole, split_sentences
from .respond import before_list, lead, plain, plain_reason

log = logging.getLogger(__name__)

#: Items that are written about, sentences, and tokens of the answer, at most.
MOST_CARDS = 3
MOST_SENTENCES = 3
MOST_TOKENS = 72
#: Characters of the request, and of the whole user message: at three to a token, 120 tokens.
REQUEST_LIMIT = 120
PROMPT_LIMIT = 360
#: Longest sentence that is shown, in characters.
SENTENCE_LIMIT = 400
#: With less time left in the turn, in seconds, the model is not asked.
TIME_NEEDED = 4.0


def reply_messages(request: str, cards: Sequence[Card], records: Mapping[str, str]) -> list[AnyMessage]:
    """The prompt for a reply; empty where not even one claim of the first item fits into it.

    Args:
        request: what the user said.
        cards: those to write about, see :func:`told_of`.
        records: text of the evidence by id.
    """
    lines = [one_line(request, REQUEST_LIMIT)]
    for card in cards:
        lines += _lines(card, records)
    return [SystemMessage(prompts.text("reply")), HumanMessage("\n".join(lines))]


def told_of(request: str, cards: Sequence[Card], records: Mapping[str, str]) -> list[Card]:
    """The first items, with as many of their claims as the prompt has room for; none where it has room for none."""
    room = PROMPT_LIMIT - len(one_line(request, REQUEST_LIMIT))
    told: list[Card] = []
    for card in cards[:MOST_CARDS]:
        fitting = card.model_copy(update={"claims": ()})
        for claim in card.claims:
            more = fitting.model_copy(update={"claims": (*fitting.claims, claim)})
            if _length(more, records) <= room:
                fitting = more
        if not fitting.claims:
            break
        room -= _length(fitting, records)
        told.append(fitting)
    return told


def _lines(card: Card, records: Mapping[str, str]) -> list[str]:
    year = card.attributes.get("year")
    dated = f" ({year:.0f})" if isinstance(year, float) else ""
    claims = [shortened(claim.text, [records.get(one, "") for one in claim.evidence]) for claim in card.claims]
    return [f"{card.ordinal}. {called(card.title)}{dated}", *(f"- {_straight(text)}" for text in claims)]


def _length(card: Card, records: Mapping[str, str]) -> int:
    return sum(len(line) + 1 for line in _lines(card, records))


def _straight(text: str) -> str:
    """With quotation marks that are one token each."""
    return text.replace("“", '"').replace("”", '"')


@dataclass(frozen=True)
class Writer:
    """Writes with a chat model.

    Attributes:
        model: it was trained on, or is able to follow, such prompts.
        turn_seconds: how long a whole turn may take; the model gets what is left of it.
    """

    model: BaseChatModel
    turn_seconds: float = 60.0

    def applies(self, desk: TurnContext) -> bool:
        """Whether the turn is one of a list and nothing else: what was asked of one item is answered by its claims."""
        asked = desk.described is not None or desk.findings or desk.findings_title or desk.popularity is not None
        return desk.fresh and bool(desk.bus.cards) and not asked

    def pieces(self, desk: TurnContext, below: Sequence[str]) -> Iterator[str]:
        """The whole reply in pieces as they become known.

        Args:
            below: paragraphs that come after.
        """
        above = before_list(desk)
        if above:
            yield "\n\n".join(above) + "\n\n"
        shown = False
        for sentence in self._sentences(desk):
            yield f" {sentence}" if shown else sentence
            shown = True
        if not shown:
            yield lead(desk)
        if below:
            yield "\n\n" + "\n\n".join(below)

    def _sentences(self, desk: TurnContext) -> Iterator[str]:
        """Sentences to show. Where the model fails a notice says so, and what was shown until then stays."""
        records = {one: evidence.text for one, evidence in desk.evidence.items()}
        cards = told_of(desk.message, desk.bus.cards, records)
        if not cards:
            return
        noted = [claim.text for claim in desk.noted]
        draft = _Draft(Checker(Grounds(cards, desk.message, len(desk.bus), records, noted)), cards)
        try:
            for text in self._stream(desk, reply_messages(desk.message, cards, records)):
                yield from draft.add(text)
                if draft.full:
                    break
            yield from draft.finish()
        except TurnError as error:
            desk.notice(f"The language model did not write the reply ({error}): it is put together from the records.")
        except Exception as error:  # a model is outside code: whatever it raises must not lose the turn
            log.exception("the writer failed")
            desk.notice(
                f"The language model failed at the reply ({type(error).__name__}): it is put together from the records."
            )
        desk.writing = draft.account

    def _stream(self, desk: TurnContext, messages: Sequence[AnyMessage]) -> Iterator[str]:
        """The model's words as they come.

        Raises:
            TurnError: no time is left, or the model says so.
        """
        ends = desk.opened + self.turn_seconds
        left = ends - time.perf_counter()
        if left < TIME_NEEDED:
            raise TurnError("too little time is left")
        cancel: Event | None = ensure_config().get("configurable", {}).get("cancel")
        desk.model_calls += 1
        options: dict[str, Any] = {"max_tokens": MOST_TOKENS, "temperature": 0.0, "timeout": left}
        # a generator, though its type says iterator: closing it stops the model
        chunks = cast("Any", self.model.stream(list(messages), **options))
        with closing(chunks):
            for chunk in chunks:
                if cancel is not None and cancel.is_set():
                    return
                if time.perf_counter() > ends:
                    raise TurnError("the turn's time is over")
                if isinstance(chunk, AIMessageChunk) and (text := str(chunk.text)):
                    yield text


@dataclass
class _Draft:
    """A reply in the making: sentences are cut off, checked, and shown or replaced."""

    checker: Checker
    cards: Sequence[Card]
    _rest: str = ""
    _verdicts: list[Verdict] = field(default_factory=list)
    _covered: set[int] = field(default_factory=set)

    @property
    def full(self) -> bool:
        return len(self._verdicts) >= MOST_SENTENCES

    @property
    def account(self) -> Writing | None:
        reasons = tuple(verdict.reason for verdict in self._verdicts if not verdict.ok)
        if not self._verdicts:
            return None
        return Writing(sentences=len(self._verdicts), replaced=len(reasons), reasons=reasons)

    def add(self, text: str) -> Iterator[str]:
        """Take more of the model's words; the sentences that are whole now."""
        sentences, self._rest = split_sentences(self._rest + text, self.checker.titles)
        for sentence in sentences:
            if not self.full:
                yield from self._judge(sentence)

    def finish(self) -> Iterator[str]:
        """Nothing more comes: an end that is no whole sentence fails."""
        if self._rest.strip() and not self.full:
            yield from self._judge(self._rest.strip())

    def _judge(self, sentence: str) -> Iterator[str]:
        if is_whole(sentence) and len(sentence) <= SENTENCE_LIMIT:
            verdict = self.checker.check(sentence)
        else:
            verdict = Verdict(sentence, False, "breaks off" if len(sentence) <= SENTENCE_LIMIT else "is too long")
        self._verdicts.append(verdict)
        if verdict.ok:
            self._covered |= set(verdict.about)
            yield plain(sentence, SENTENCE_LIMIT)
        elif (card := self._instead(verdict)) is not None:
            self._covered.add(card.ordinal)
            yield plain_reason(card)

    def _instead(self, verdict: Verdict) -> Card | None:
        """The item whose claims stand for a failed sentence: one that it speaks of, else the first not yet told of."""
        places = verdict.about or tuple(card.ordinal for card in self.cards)
        return next((card for card in self.cards if card.ordinal in places and card.ordinal not in self._covered), None)
