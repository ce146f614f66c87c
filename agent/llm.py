"""The language model as a LangChain chat model, in this process, on any GGUF file.

Tool calls are never parsed out of hope: when tools are bound, a grammar made from their schemas rules every token
(:mod:`llm4rec.agent.grammar`). A schema that cannot be ruled is refused when it is bound.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from .. import threads
from ..errors import MissingExtra, TurnError, UserError
from ._calls import calls_of, choose, plan_of, usage_of
from .engine import Engine
from .grammar import ToolSchema
from .runner import Event, Finished, Job, Runner, remaining, too_late
from .template import ChatTemplate, Said, compact, plain, tools_text
from .weights import LlmSource, Notice, describe, intact, resolve

log = logging.getLogger(__name__)


class ChatLlamaCpp(BaseChatModel):
    """A GGUF model run by llama.cpp. Thread-safe: callers queue for the one context.

    The prompt's beginning is kept between calls, so a constant system prompt is read once; what was evaluated is
    in ``response_metadata["evaluated_tokens"]``. An answer can be ended from outside by ``cancel``, a
    ``threading.Event`` given to ``invoke`` and ``stream`` or as ``config["configurable"]["cancel"]`` of the graph
    around it. Words that were cut off come with ``finish_reason`` ``length``, ``timeout`` or ``cancelled``; a plan
    that was cut off is worth nothing and raises ``TurnError``.

    Raises (when made): UserError for a model that is not there or cannot be used.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str | None = None
    """A GGUF file or ``hf:owner/repository/file.gguf``; None for the bundled model."""
    adapter: Path | None = None
    """A LoRA adapter in GGUF, in place of the one that comes for the bundled model."""
    n_ctx: int = Field(default=4096, ge=128)
    """Tokens of a prompt and its answer together; never more than the model was trained on."""
    slots: int = Field(default=2, ge=1, le=16)
    """Prompts whose evaluation is kept side by side; each takes memory for ``n_ctx`` tokens."""
    threads: int = Field(default_factory=threads.llm_threads, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    """0 takes the likeliest token."""
    seed: int | None = None
    """Of the random choices; None chooses anew each time."""
    max_tokens: int = Field(default=256, ge=1)
    timeout: float | None = Field(default=120.0, gt=0)
    """Seconds (wall clock, waiting in the queue included)."""
    stop: list[str] | None = None
    streaming: bool = False
    """Whether ``invoke`` streams inside; callbacks then see every token."""
    describe_tools: bool = True
    """Whether bound tools are described in the system prompt. Off where the caller's prompt does that."""
    max_calls: int = Field(default=3, ge=1)
    """Most tool calls in one answer."""
    cache_folder: Path | None = None
    """For the faster copy of the bundled model and the probe's verdict; the user's cache folder by default."""
    notice: Notice = Field(default=log.info, exclude=True, repr=False)
    """Told what takes long at first use."""

    _source: LlmSource = PrivateAttr()
    _runner: Runner = PrivateAttr()
    _template: ChatTemplate | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._source = resolve(self.model, adapter=self.adapter, cache=self.cache_folder, notice=self.notice)
        if self._source.path is None:
            raise UserError(f"{self.model}: is a server; load_chat_model makes a client for it")
        applied = self._source.adapter if self._source.adapted == "runtime" else None
        options = {"n_ctx": self.n_ctx, "threads": self.threads, "slots": self.slots, "adapter": applied}
        self._runner = Runner(_engine_maker(self._source.path, self.cache_folder, self.notice, options))

    @property
    def source(self) -> LlmSource:
        """The file that is used, and the adapter."""
        return self._source

    @property
    def _llm_type(self) -> str:
        return "llama.cpp"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self._source.name, "temperature": self.temperature, "seed": self.seed}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "llama.cpp"
        params["ls_model_name"] = kwargs.get("model") or self._source.name
        return params

    # -- loading and words ----------------------------------------------------------------------------------

    def load(self) -> None:
        """Load the weights now instead of at the first answer.

        Raises:
            UserError: llama.cpp cannot run this model here.
        """
        self._ready()

    def warm(self, messages: LanguageModelInput, **kwargs: Any) -> None:
        """Read a prompt ahead, in the background, so that the first answer after it comes sooner.

        The next call does not wait for it to end: it goes on from where the reading is.
        """
        job = self._job(self._convert_input(messages).to_messages(), None, {**kwargs, "max_tokens": 0})
        job.deadline, job.cancel, job.ahead = None, None, True  # it outlives the turn it is asked for in
        self._runner.start(job, lambda _event: None)

    def close(self) -> None:
        """Give the model's memory back. The model cannot be used afterwards."""
        self._runner.close()

    def _ready(self) -> Engine:
        engine = self._runner.engine()
        self._chat_template(engine)
        return engine

    def _chat_template(self, engine: Engine) -> ChatTemplate:
        if self._template is None:
            self._template = ChatTemplate(
                source=engine.metadata("tokenizer.chat_template") or "",
                bos=engine.bos,
                eos=engine.eos,
                control=engine.control_texts,
                name=self._source.name,
            )
        return self._template

    def _prompt(self, engine: Engine, said: Sequence[Said]) -> list[int]:
        return engine.prompt(self._chat_template(engine).render(said))

    def get_token_ids(self, text: str) -> list[int]:
        """The model's own tokens of a text; control tokens written out count as plain text."""
        return self._ready().tokenize(text, special=False)

    def prompt_tokens(self, messages: LanguageModelInput) -> list[int]:
        """The tokens that the model reads of a conversation before it answers."""
        said = self._said(self._convert_input(messages).to_messages(), [], forced=False, describe=False)
        return self._prompt(self._ready(), said)

    @property
    def end_token(self) -> int:
        """The token that ends an answer: the one that the model's template puts behind what an assistant said.

        Raises:
            UserError: the template puts none there.
        """
        engine = self._ready()
        said = self._prompt(engine, [Said("user", "a"), Said("assistant", "b"), Said("user", "c")])
        for token in said[_behind(said, engine.tokenize("b", special=False)) :]:
            if engine.ends_answer(token):
                return token
        raise UserError(f"{self._source.name}: its chat template ends no answer, so it cannot be taught to")

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Tokens of the whole prompt, as the model reads it."""
        schemas = [ToolSchema.of(convert_to_openai_tool(tool)) for tool in tools or ()]
        return len(self._prompt(self._ready(), self._said(messages, schemas, forced=False, describe=True)))

    # -- tools ----------------------------------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        ordinals: int | None = None,
        max_calls: int | None = None,
        describe_tools: bool | None = None,
        parallel_tool_calls: bool = True,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools, and nothing but them where the choice is forced.

        Args:
            tool_choice: None or "auto": words or calls; "any": calls; a tool's name: calls of that tool;
                "none": words.
            ordinals: how many items are on the table (see :func:`llm4rec.agent.grammar.plan_grammar`).
            max_calls: most calls in one answer; one when structured output is asked for.
            describe_tools: overrides the field of that name.
            parallel_tool_calls: False is ``max_calls=1``.
            strict: has no effect, because the schema is always kept to.

        Raises:
            GrammarError: a schema cannot be expressed as a grammar.
            UserError: ``tool_choice`` names no tool.
        """
        described: list[dict[str, Any]] = []
        for tool in map(convert_to_openai_tool, tools):
            if tool not in described:
                described.append(tool)
        choice = choose(tool_choice, [tool["function"]["name"] for tool in described])
        single = not parallel_tool_calls or "ls_structured_output_format" in kwargs
        bound = {
            "tools": described,
            "tool_choice": choice,
            "ordinals": ordinals,
            "max_calls": 1 if single else max_calls or self.max_calls,
            "describe_tools": self.describe_tools if describe_tools is None else describe_tools,
        }
        plan_of(bound)
        return self.bind(**bound, **kwargs)

    def _said(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolSchema], *, forced: bool, describe: bool
    ) -> list[Said]:
        said = plain(messages)
        if tools and describe:
            told = tools_text(tools, forced=forced)
            if said and said[0].role == "system":
                said[0] = Said("system", f"{said[0].text}\n\n{told}")
            else:
                said.insert(0, Said("system", told))
        return said

    # -- answers --------------------------------------------------------------------------------------------

    def _job(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> Job:
        unknown = set(kwargs) - _KNOWN
        if unknown:
            raise TypeError(f"{type(self).__name__} knows no {min(unknown)!r}; it knows {', '.join(sorted(_KNOWN))}")
        schemas, grammar, forced = plan_of(kwargs)
        describe = kwargs.get("describe_tools", self.describe_tools)
        said = self._said(messages, schemas, forced=forced, describe=describe)
        cancel = kwargs.get("cancel", ensure_config().get("configurable", {}).get("cancel"))
        if cancel is not None and not isinstance(cancel, threading.Event):
            raise TypeError(f"cancel is a {type(cancel).__name__}, not a threading.Event")
        timeout = kwargs.get("timeout", self.timeout)
        return Job(
            prompt=lambda engine: self._prompt(engine, said),
            max_tokens=kwargs.get("max_tokens", self.max_tokens),
            temperature=kwargs.get("temperature", self.temperature),
            seed=kwargs.get("seed", self.seed),
            grammar=grammar,
            plan=grammar is not None,
            stop=stop or self.stop or [],
            deadline=None if timeout is None else time.monotonic() + timeout,
            cancel=cancel,
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        job = self._job(messages, stop, kwargs)
        end = [event for event in self._runner.stream(job) if isinstance(event, Finished)][-1]
        return self._result(job, end)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        job = self._job(messages, stop, kwargs)
        end = [event async for event in self._events(job) if isinstance(event, Finished)][-1]
        return self._result(job, end)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        job = self._job(messages, stop, kwargs)
        seen = ""
        for event in self._runner.stream(job):
            chunk = self._chunk(job, event, seen)
            seen += event if isinstance(event, str) else ""
            if chunk is not None:
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        job = self._job(messages, stop, kwargs)
        seen = ""
        async for event in self._events(job):
            chunk = self._chunk(job, event, seen)
            seen += event if isinstance(event, str) else ""
            if chunk is not None:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _events(self, job: Job) -> AsyncIterator[str | Finished]:
        """The runner's events for an asynchronous caller; cancelling the task abandons the job."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        self._runner.start(job, tell)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), remaining(job))
                except TimeoutError:
                    raise TurnError(too_late(job)) from None
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            job.abandoned.set()

    def _result(self, job: Job, end: Finished) -> ChatResult:
        calls = calls_of(job, end)
        message = AIMessage(
            content="" if calls else end.text,
            tool_calls=calls,
            usage_metadata=usage_of(end),
            response_metadata=self._metadata(end),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunk(self, job: Job, event: str | Finished, seen: str) -> ChatGenerationChunk | None:
        """What a listener gets: words as they come; calls once they are whole; the account at the end."""
        if isinstance(event, str):
            if job.plan and (seen + event).startswith("["):
                return None
            return ChatGenerationChunk(message=AIMessageChunk(content=event))
        chunks = [
            tool_call_chunk(name=c["name"], args=compact(c["args"]), id=c["id"], index=i)
            for i, c in enumerate(calls_of(job, event))
        ]
        message = AIMessageChunk(
            content="",
            tool_call_chunks=chunks,
            usage_metadata=usage_of(event),
            response_metadata=self._metadata(event),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _metadata(self, end: Finished) -> dict[str, Any]:
        account = end.account
        return {
            "model_name": self._source.name,
            "model_provider": "llama.cpp",
            "finish_reason": end.reason,
            "evaluated_tokens": account.evaluated_tokens,
            "reused_tokens": account.reused_tokens,
            "prefill_seconds": round(account.prefill_seconds, 4),
            "generate_seconds": round(account.generate_seconds, 4),
            "first_token_seconds": None if end.first_token_seconds is None else round(end.first_token_seconds, 4),
        }


_KNOWN = frozenset(
    {
        "tools", "tool_choice", "ordinals", "max_calls", "describe_tools", "cancel", "max_tokens", "temperature",
        "seed", "timeout",
    }
)  # fmt: skip


def load_chat_model(spec: str | None = None, *, notice: Notice = log.info, **options: Any) -> tuple[BaseChatModel, str]:
    """The chat model that a person named, and its name for people.

    Args:
        spec: see :func:`llm4rec.agent.weights.resolve`.
        notice: told what takes long at first use.
        options: fields of :class:`ChatLlamaCpp`; for a server temperature, max_tokens and timeout.

    Raises:
        UserError: there is no such model. MissingExtra: a server is named and ``langchain-openai`` is missing.
    """
    if spec is not None and spec.strip().startswith(("http://", "https://")):
        source = resolve(spec, adapter=options.pop("adapter", None))
        return _client(source, options), source.name
    model = ChatLlamaCpp(model=spec, notice=notice, **{"describe_tools": False, **options})
    return model, model.source.name


def describe_llm(
    spec: str | None = None, *, adapter: Path | None = None
) -> Iterator[tuple[Literal["ok", "note", "bad"], str]]:
    """What is to be told of the language model: its file and adapter, and how this machine runs it. Asks no server.

    Raises:
        UserError: there is no such model, or it cannot run here.
    """
    notices: list[str] = []
    source = resolve(spec, adapter=adapter, notice=notices.append)
    yield "ok", "; ".join(f"{what} {told}" for what, told in describe(source).items())
    if source.path is not None:
        from .probe import probe

        verdict = probe(source.path, notice=notices.append)
        yield ("note" if verdict.extra_buffers is False else "ok"), f"llama.cpp on this processor: {verdict.reason}"
        if source.cached and not intact(source):
            yield "bad", f"{source.path} is not what was written there: delete it, and it is made again"
    for notice in notices:
        yield "note", notice


def _client(source: LlmSource, options: Mapping[str, Any]) -> BaseChatModel:
    try:
        from langchain_openai import ChatOpenAI
    except ImportError:
        raise MissingExtra("a language model on a server", "openai") from None
    # An OPENAI_API_KEY in the environment is not sent: the server is whichever the person named.
    chosen = {"temperature": 0.0, "max_tokens": 256, "timeout": 120.0, "max_retries": 1, **options}
    key = SecretStr(os.environ.get("LLM4REC_API_KEY", "none"))
    return ChatOpenAI(base_url=source.url, model=source.model or "default", api_key=key, **chosen)


def _engine_maker(path: Path, cache: Path | None, notice: Notice, options: Mapping[str, Any]) -> Callable[[], Engine]:
    def make() -> Engine:
        from .probe import probe

        verdict = probe(path, cache=cache, notice=notice)
        return Engine(path, extra_buffers=verdict.extra_buffers, **options)

    return make


def _behind(tokens: Sequence[int], part: Sequence[int]) -> int:
    """The place behind the last time that a part stands among tokens; 0 where it does not."""
    for at in range(len(tokens) - len(part), -1, -1):
        if list(tokens[at : at + len(part)]) == list(part):
            return at + len(part)
    return 0
