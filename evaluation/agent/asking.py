"""One turn of a conversation, and what it cost."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook

from ...agent.recommender import Recommender
from ...catalog.text import one_line
from .turns import Call, TurnRecord

#: Name of the one thread that each user has.
_THREAD = "replay"
#: Characters of a reply or a complaint that are kept.
_KEPT = 600


class Usage(BaseCallbackHandler):
    """Adds up the tokens that language models tell of.

    Attributes:
        prompt, generated: tokens, those read from a cache included.
        untold: answers whose tokens nobody told; those that failed half-way are among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prompt = self.generated = self.untold = 0

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        for generations in response.generations:
            told = getattr(getattr(generations[0], "message", None), "usage_metadata", None) if generations else None
            if told is None:
                self.untold += 1
            else:
                self.prompt += told["input_tokens"]
                self.generated += told["output_tokens"]

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.untold += 1

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Of prompts and of answers; None where they are not all known."""
        return (None, None) if self.untold else (self.prompt, self.generated)


_usage: ContextVar[Usage | None] = ContextVar("replay_usage", default=None)
register_configure_hook(_usage, inheritable=True)


def ask(talk: Recommender, user: str, request: str, k: int) -> TurnRecord:
    """Say something as a user who has not said anything before.

    Args:
        talk: over the workspace of the train log.
        user: id in its log.
        request: what is said.
        k: items that a list shows, 1 to 50.
    """
    usage = Usage()
    token = _usage.set(usage)
    started = time.perf_counter()
    try:
        turn = talk.chat(user, request, thread=_THREAD, k=k)
    except Exception as error:  # whatever a turn raises fails that turn, and is counted: the others go on
        prompt, generated = usage.tokens
        return TurnRecord(
            user=user,
            request=request,
            k=k,
            failure=f"raised {type(error).__name__}",
            notices=(one_line(str(error), _KEPT),),
            prompt_tokens=prompt,
            generated_tokens=generated,
            seconds=round(time.perf_counter() - started, 4),
        )
    finally:
        _usage.reset(token)
    prompt, generated = usage.tokens
    items = tuple(card.id for card in turn.cards) if turn.listed else ()
    calls = tuple(
        Call(name=run.name, arguments=dict(run.arguments), error=None if run.ok else one_line(run.observation, _KEPT))
        for run in turn.tools
    )
    return TurnRecord(
        user=user,
        request=request,
        k=k,
        items=items,
        failure=None if items else _why(listed=turn.listed, calls=calls, notices=turn.notices),
        calls=calls,
        reply=turn.reply[:_KEPT],
        notices=turn.notices,
        model_calls=turn.model_calls,
        prompt_tokens=prompt,
        generated_tokens=generated,
        first_seconds=turn.seconds.get("first_result"),
        seconds=round(time.perf_counter() - started, 4),
    )


def _why(*, listed: bool, calls: tuple[Call, ...], notices: tuple[str, ...]) -> str:
    """Why a turn shows no list, in words that are the same for turns that failed alike."""
    if listed:
        return "an empty list"
    if any(notice.startswith("The turn ended early") for notice in notices):
        return "the turn ended early"
    failed = [call.name for call in calls if call.error is not None]
    if failed:
        return f"{failed[-1]} failed"
    if calls:
        return f"no list from {', '.join(dict.fromkeys(call.name for call in calls))}"
    return "words and no list"
