"""One engine, the one thread that may touch it, and the answers on their way out.

Every call to llama.cpp happens on the runner's own thread. That makes the model thread-safe (callers queue), keeps
one OpenMP pool instead of one per caller, leaves Ctrl-C to the caller's thread, and lets a caller walk away: an
answer nobody waits for is stopped at its next token.
"""

from __future__ import annotations

import codecs
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ..errors import TurnError
from .engine import Account, Engine

Finish = Literal["stop", "length", "timeout", "cancelled"]
#: A caller waits this long past its deadline for the runner's own word on what was reached by then, in seconds.
GRACE = 2.0
#: Tokens that are read ahead between two looks at whether somebody is waiting: some hundredths of a second.
AHEAD_CHUNK = 16


@dataclass(frozen=True)
class Finished:
    """The end of an answer."""

    text: str
    reason: Finish
    account: Account
    first_token_seconds: float | None


@dataclass
class Job:
    """One answer wanted.

    Attributes:
        prompt: tokens, made on the runner's thread from the engine.
        plan: whether an answer that begins with ``[`` is a plan: it ends as soon as the grammar lets it.
        stop: texts that end the answer and are not part of it.
        deadline: ``time.monotonic()`` seconds, or None.
        cancel: set by anyone to end the answer; what was said until then is kept.
        ahead: whether nobody waits for it, a prompt read ahead: it gives way to the next job, and what it has read by
            then is kept.
    """

    prompt: Callable[[Engine], Sequence[int]]
    max_tokens: int
    temperature: float
    seed: int | None
    grammar: str | None
    plan: bool
    stop: Sequence[str]
    deadline: float | None
    cancel: threading.Event | None
    ahead: bool = False
    abandoned: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise if the answer is to end now."""
        if self.abandoned.is_set() or (self.cancel is not None and self.cancel.is_set()):
            raise _Interrupted("cancelled")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise _Interrupted("timeout")


class _Interrupted(Exception):
    def __init__(self, reason: Finish) -> None:
        super().__init__(reason)
        self.reason: Finish = reason


Event = str | Finished | Exception
_Result = TypeVar("_Result")


class Runner:
    """Runs jobs one after another on a thread of its own. The engine is made there, at the first job.

    Args:
        make: builds the engine; what it raises reaches every caller until it succeeds.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self._ahead: Job | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llm")

    def engine(self) -> Engine:
        """The engine, loaded if it was not. For looking words up; to generate is the runner's own business."""
        return self._engine or self._submit(self._ready).result()

    def _ready(self) -> Engine:
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    def start(self, job: Job, tell: Callable[[Event], None]) -> None:
        """Queue a job. ``tell`` gets pieces of text, and last a :class:`Finished` or an exception.

        Raises:
            TurnError: the runner was closed.
        """
        if self._ahead is not None:
            self._ahead.abandoned.set()
        self._ahead = job if job.ahead else None
        self._submit(lambda: self._run(job, tell))

    def _submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        try:
            return self._pool.submit(work)
        except RuntimeError:
            raise TurnError("the language model was closed") from None

    def stream(self, job: Job) -> Iterator[str | Finished]:
        """The same for a waiting caller. Closing the iterator abandons the job.

        Raises:
            TurnError: nothing came before the deadline, or the engine failed.
        """
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.start(job, events.put)
        try:
            while True:
                try:
                    event = events.get(timeout=remaining(job))
                except queue.Empty:
                    raise TurnError(too_late(job)) from None
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            job.abandoned.set()

    def _run(self, job: Job, tell: Callable[[Event], None]) -> None:
        try:
            tell(self._answer(job, tell))
        except _Interrupted as interrupted:
            tell(TurnError("cancelled before it began" if interrupted.reason == "cancelled" else too_late(job)))
        except Exception as error:  # the caller's to handle: it is raised again on their side
            tell(error)

    def _answer(self, job: Job, tell: Callable[[Event], None]) -> Finished:
        job.check()
        engine = self._ready()
        prompt = job.prompt(engine)
        account = Account()
        said = _Said(job.stop, tell, plan=job.plan)
        first: float | None = None
        reason: Finish = "stop"
        steps = engine.generate(
            prompt,
            max_tokens=job.max_tokens,
            account=account,
            check=job.check,
            temperature=job.temperature,
            seed=job.seed,
            grammar=job.grammar,
            chunk=AHEAD_CHUNK if job.ahead else None,
        )
        try:
            for step in steps:
                if first is None:
                    first = time.monotonic() - job.asked
                if said.add(step.piece) or (job.plan and step.may_end and said.text.startswith("[")):
                    break
            else:
                reason = "length" if account.full else "stop"
        except _Interrupted as interrupted:
            reason = interrupted.reason
        finally:
            steps.close()
        said.flush()
        return Finished(said.text, reason, account, first)

    def close(self) -> None:
        """Give the model's memory back once running jobs have ended."""
        if self._ahead is not None:
            self._ahead.abandoned.set()

        def free() -> None:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

        self._submit(free).result()
        self._pool.shutdown()


def remaining(job: Job) -> float | None:
    """Seconds a caller should still wait; None is for ever."""
    return None if job.deadline is None else max(0.0, job.deadline - time.monotonic()) + GRACE


def too_late(job: Job) -> str:
    assert job.deadline is not None
    return f"the language model said nothing within {max(0.0, job.deadline - job.asked):.1f} s"


class _Said:
    """Text so far: bytes to characters, with what may become a stop text held back. A plan knows no stop texts."""

    def __init__(self, stop: Sequence[str], tell: Callable[[Event], None], *, plan: bool = False) -> None:
        self._plan = plan
        self._stop = [text for text in stop if text]
        self._tell = tell
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._told = 0
        self.text = ""

    def add(self, piece: bytes) -> bool:
        """Take some bytes; True when a stop text has come. Half a character waits for its other half."""
        before = len(self.text)
        self.text += self._decoder.decode(piece)
        if self._plan and self.text.startswith("["):
            self._stop = []
        longest = max((len(text) for text in self._stop), default=0)
        found = [at for text in self._stop if (at := self.text.find(text, max(0, before - longest))) >= 0]
        if found:
            self.text = self.text[: min(found)]
            return True
        held = max((_overlap(self.text, text) for text in self._stop), default=0)
        self._release(len(self.text) - held)
        return False

    def _release(self, end: int) -> None:
        if end > self._told:
            self._tell(self.text[self._told : end])
            self._told = end

    def flush(self) -> None:
        """Nothing more will come: let go of what was held back."""
        self._release(len(self.text))


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
