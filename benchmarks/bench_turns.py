"""How long a person waits, and whether what they read is true to the catalogue: real messages, turn by turn.

    python benchmarks/bench_turns.py [--workspace W] [--turns 100] [--data FOLDER] [--planners default,grounded,rules]

With ``--data`` (or ``LLM4REC_DATA``) the messages are those of people who look for films (IARD's seekers, dialogue by
dialogue, each a thread of another user); without it ten written ones. Without a workspace the demo is built in a
temporary folder and its build timed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from iard import read_turns
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, LLMResult
from llm4rec.agent.llm import ChatLlamaCpp, load_chat_model
from llm4rec.agent.recommender import PLAN_TOKENS, Recommender
from llm4rec.agent.weights import ADAPTER_MODE, bundled_path, cache_folder, fast_copy
from llm4rec.builder import build_workspace
from llm4rec.catalog.text import fold
from llm4rec.catalog.workspace import Workspace
from llm4rec.graphs.state import ItemsReady, TextDelta, TurnFinished
from llm4rec.tools.results import Turn
from report import Row, write

#: Said in turn, by users in turn, each user in a thread of their own.
MESSAGES = (
    "something tense set on a submarine",
    "why the first one?",
    "recommend me something",
    "a comedy from the eighties",
    "who is in the second one?",
    "I loved it, more like that",
    "are these just the popular ones?",
    "no horror please",
    "a heist that goes wrong",
    "what have I rated?",
)
#: Seconds a turn may take: what is slow shall be measured as slow.
TIMEOUT = 60.0
_QUOTED = re.compile(r"“([^”]{1,200})”")


class Account(BaseCallbackHandler):
    """Collects what a model told of its answers: tokens and seconds."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        for generations in response.generations:
            for one in generations:
                if isinstance(one, ChatGeneration):
                    self.answers.append(dict(one.message.response_metadata))

    def mean(self, name: str) -> float | str:
        return round(float(np.mean([one[name] for one in self.answers])), 0) if self.answers else ""


@dataclass
class Times:
    """Of all turns, in seconds."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float | str]:
        told: dict[str, float | str] = {}
        for name, its in (("first result", self.first), ("first character", self.written), ("turn", self.whole)):
            for share in (50, 95):
                told[f"{name} p{share} s"] = round(float(np.percentile(its, share)), 2) if its else ""
        return told


@dataclass(frozen=True)
class Said:
    """A message of a thread."""

    thread: str
    text: str


def written() -> Iterator[Said]:
    """The written messages, again and again."""
    number = 0
    while True:
        for text in MESSAGES:
            yield Said(f"bench-{number}", text)
        number += 1


def of_people(dialogues: Path) -> Iterator[Said]:
    """What IARD's seekers said, in order."""
    for turn in read_turns(dialogues):
        if turn.say.strip():
            yield Said(turn.dialogue, turn.say)


def default() -> ChatLlamaCpp:
    model, _ = load_chat_model(None, max_tokens=PLAN_TOKENS, timeout=TIMEOUT)
    assert isinstance(model, ChatLlamaCpp)
    return model


def untuned() -> ChatLlamaCpp:
    """The bundled model without its adapter, in the same precision."""
    return ChatLlamaCpp(
        model=str(fast_copy(bundled_path(), cache_folder(), print)), max_tokens=PLAN_TOKENS, timeout=TIMEOUT
    )


def grounded() -> ChatLlamaCpp:
    """The bundled model without the adapter that comes with this package."""
    before = os.environ.get(ADAPTER_MODE)
    os.environ[ADAPTER_MODE] = "off"
    try:
        return default()
    finally:
        os.environ.pop(ADAPTER_MODE)
        if before is not None:
            os.environ[ADAPTER_MODE] = before


PLANNERS: dict[str, tuple[str, Callable[[], ChatLlamaCpp] | None]] = {
    "default": ("as the product makes it", default),
    "grounded": ("the bundled model without its adapter: behind demonstrations, kept to what was said", grounded),
    "untuned": ("the bundled model as any other GGUF file: nearest demonstrations in its prompt", untuned),
    "rules": ("no language model", None),
}


def measure(workspace: Path, name: str, turns: int, said: Iterator[Said], pause: float) -> Row:
    """One planner over so many turns."""
    opened = time.perf_counter()
    account, times = Account(), Times()
    make = PLANNERS[name][1]
    model = make() if make else None
    if model is not None:
        model.callbacks = [account]
    with Recommender.open(workspace, llm="rules" if model is None else None, chat_model=model) as recommender:
        known = recommender.knowledge.interactions.user_ids[:200] or tuple("ab")
        for _ in recommender.stream(known[0], MESSAGES[0], thread="warm-up"):
            pass
        ready = time.perf_counter() - opened
        account.answers.clear()
        titles = {fold(title) for title in recommender.knowledge.catalogue.frame["title"].to_list()}
        threads: dict[str, str] = {}
        counts = dict.fromkeys(("failed", "asked", "references", "titles", "sentences", "replaced"), 0)
        popularity: list[float] = []
        for number in range(turns):
            one = next(said)
            user = threads.setdefault(one.thread, known[len(threads) % len(known)])
            time.sleep(pause)
            turn = timed(recommender, user, one, times)
            popularity += [run.seconds for run in turn.tools if run.name == "estimate_bias"]
            counts["asked"] += turn.model_calls > 0
            counts["failed"] += any(not run.ok for run in turn.tools)
            counts["references"] += invalid(turn)
            counts["titles"] += len(invented(turn, titles))
            if turn.writing is not None:
                counts["sentences"] += turn.writing.sentences
                counts["replaced"] += turn.writing.replaced
            print(f"\r{name}: {number + 1} of {turns} turns", end="", flush=True)
        print()
        manifest = recommender.knowledge.build.manifest
        row: dict[str, str | float | int] = {
            "catalogue": f"{manifest.source}, {manifest.items} items",
            "planner": name,
            "turns": turns,
            "turns with a failed call": counts["failed"],
            "turns that asked the model": counts["asked"],
            "invalid references": counts["references"],
            "titles outside the catalogue": counts["titles"],
            "sentences written": counts["sentences"],
            "of these replaced": counts["replaced"],
            **times.row(),
            "tokens evaluated an answer": account.mean("evaluated_tokens"),
            "tokens reused an answer": account.mean("reused_tokens"),
            "popularity answer p95 ms": round(1000 * float(np.percentile(popularity, 95)), 1) if popularity else "",
            "ready after s": round(ready, 1),
            "peak memory GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        }
    if model is not None:
        model.close()
    return row


def timed(recommender: Recommender, user: str, said: Said, times: Times) -> Turn:
    """One turn, as someone who watches sees it."""
    started = time.perf_counter()
    first = written = 0.0
    for event in recommender.stream(user, said.text, thread=said.thread):
        since = time.perf_counter() - started
        if isinstance(event, ItemsReady) and not first:
            first = since
        elif isinstance(event, TextDelta) and event.text.strip() and not written:
            written = since
        elif isinstance(event, TurnFinished):
            times.whole.append(since)
            times.first += [first] if first else []
            times.written += [written] if written else []
            return event.turn
    raise AssertionError("the turn ended without a result")


def invalid(turn: Turn) -> int:
    """Cards of the turn whose evidence does not exist, or whose places are not 1, 2, 3, ..."""
    known = {one.id for one in turn.evidence}
    places = [card.ordinal for card in turn.cards] != list(range(1, len(turn.cards) + 1)) if turn.listed else False
    return places + sum(not set(claim.evidence) <= known for card in turn.cards for claim in card.claims)


def invented(turn: Turn, titles: set[str]) -> list[str]:
    """Titles of cards that the catalogue does not hold, and quotations in the reply with a word that neither the
    message, nor a record, nor a title holds."""
    shown = [card.title for card in turn.cards if fold(card.title) not in titles]
    said = set(fold(" ".join([turn.message, *(one.text for one in turn.evidence)])).split())
    quoted = [text for text in _QUOTED.findall(turn.reply) if fold(text) not in titles]
    return shown + [text for text in quoted if not set(fold(text).split()) <= said]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--data", type=Path, default=os.environ.get("LLM4REC_DATA"), help="folder with iard/")
    parser.add_argument("--planners", default="default,grounded,untuned,rules", help="names, with commas between")
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds a person reads before the next message; the default is 0"
    )
    parser.add_argument("--out", default="turns", help="the report's name in benchmarks/results")
    asked = parser.parse_args(arguments)
    names = asked.planners.split(",")
    if unknown := [name for name in names if name not in PLANNERS]:
        parser.error(f"no planner {', '.join(unknown)}: there are {', '.join(PLANNERS)}")
    dialogues = asked.data / "iard" / "dialogues.json" if asked.data else None
    if dialogues is not None and not dialogues.exists():
        parser.error(f"there is no {dialogues}")
    with tempfile.TemporaryDirectory() as folder:
        workspace = asked.workspace or Path(folder) / "demo"
        built = 0.0
        if not Workspace(workspace).current.exists():
            started = time.perf_counter()
            build_workspace(None, workspace)
            built = time.perf_counter() - started
        said = of_people if dialogues else lambda _path: written()
        rows = [measure(workspace, name, asked.turns, said(dialogues), asked.pause) for name in names]  # type: ignore[arg-type]
    notes = [
        "Messages: " + ("IARD's seekers, in order." if dialogues else "ten written ones, again and again."),
        *(f"{name}: {PLANNERS[name][0]}." for name in names),
        f"Before each message a pause of {asked.pause:g} s, in which the model may read ahead what its next prompt "
        "begins with.",
        "first result: from the message to the list, rendered from the catalogue; turns without a list left out. "
        "first character: of the words.",
        "invalid references: claims without their evidence, places that do not count up. titles outside the "
        "catalogue: of cards, and quoted words that neither the message, nor a record, nor a title holds.",
        "popularity answer: the tool behind 'are these just the popular ones?', both lists ranked anew.",
        "ready after: opening the workspace, loading encoders and model, and a first turn.",
        "peak memory is of the process so far: later rows include what earlier planners took.",
        *([f"The demo was built in {built:.0f} s."] if built else []),
    ]
    print(write(asked.out, rows, notes, {"messages": 0}))


if __name__ == "__main__":
    main()
