"""Measures planners side by side: how often their plans are right, on held-out messages and on real people's.

    python benchmarks/bench_planning.py [--planners default,rules] [--limit 100] [--data FOLDER] [--out planning]

The held-out messages are those in ``tests/heldout``; what is counted is told in ``llm4rec.agent.tuning.scoring``. With
``--data`` (or ``LLM4REC_DATA``) the seekers' turns of IARD are planned, too, by the map in ``iard.py``: they are
measured on, and nothing was trained, tuned or chosen by them. Planners take turns in one process, one after another.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from iard import INTENTS, Turn, read_turns, right, shell_for
from llm4rec import threads
from llm4rec.agent.llm import ChatLlamaCpp, load_chat_model
from llm4rec.agent.planners import planner_of
from llm4rec.agent.recommender import PLAN_TOKENS
from llm4rec.agent.tuning.heldout import Record, Table, read_records, shells_for
from llm4rec.agent.tuning.scoring import Answer, Result, Share, ask, evaluate
from llm4rec.agent.tuning.shells import Shell
from llm4rec.agent.weights import bundled_path, cache_folder, fast_copy
from llm4rec.catalog.encoders import TextEncoder, load_text_encoder
from llm4rec.graphs.planner import DemonstrationIndex, LlmPlanner, Planner
from llm4rec.graphs.rules import RulePlanner
from llm4rec.tools.mentions import MentionIndex
from report import RESULTS, Row, write
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

HELD_OUT = Path(__file__).parents[1] / "tests" / "heldout"
#: Seconds a plan may take: what is slow shall be measured as slow, not as wrong.
TIMEOUT = 600.0

Make = Callable[[Shell], Planner]
Outcome = tuple[Turn, Answer]


class Makers:
    """The planners by name. Models and the encoder are loaded when first needed, and once.

    Args:
        llm: which model plans in ``default``; None for the bundled one.
        adapter: a LoRA adapter for it, with which it plans in ``adapter``.
    """

    def __init__(self, llm: str | None, adapter: Path | None) -> None:
        self._llm, self._adapter = llm, adapter
        self._models: dict[str, ChatLlamaCpp] = {}
        self._encoder: TextEncoder | None = None
        self.by_name: Mapping[str, tuple[str, Make]] = {
            "default": ("as the product makes it", self._default),
            "grounded": ("the untuned model behind demonstrations, kept to what was said", self._grounded),
            "demonstrations": ("the untuned model with demonstrations in the prompt", self._demonstrations),
            "grammar": ("the untuned model with the grammar alone", self._grammar),
            "rules": ("no model: patterns over plain English", self._rules),
        }
        if adapter is not None:
            self.by_name = {"adapter": ("the model with the adapter, planning by itself", self._tuned), **self.by_name}

    def close(self) -> None:
        for model in self._models.values():
            model.close()

    def _index(self, shell: Shell) -> DemonstrationIndex:
        if self._encoder is None:
            self._encoder = load_text_encoder()
        return DemonstrationIndex(self._encoder.encode, shell.tools())

    def _untuned(self) -> ChatLlamaCpp:
        """The bundled model's own weights, whatever adapter is shipped for it."""
        if "untuned" not in self._models:
            path = fast_copy(bundled_path(), cache_folder(), print)
            self._models["untuned"] = ChatLlamaCpp(
                model=str(path), max_tokens=PLAN_TOKENS, timeout=TIMEOUT, describe_tools=False
            )
        return self._models["untuned"]

    def _default(self, shell: Shell) -> Planner:
        """As ``Recommender`` makes it for a workspace: of the bundled model, or of the model and adapter named."""
        return self._made("default", shell, None)

    def _tuned(self, shell: Shell) -> Planner:
        return self._made("adapter", shell, self._adapter)

    def _made(self, name: str, shell: Shell, adapter: Path | None) -> Planner:
        if name not in self._models:
            options: dict[str, Any] = {"max_tokens": PLAN_TOKENS, "timeout": TIMEOUT, "adapter": adapter}
            model, _ = load_chat_model(self._llm, **options)
            assert isinstance(model, ChatLlamaCpp), "a server's model is measured by another benchmark"
            self._models[name] = model
        if self._encoder is None:
            self._encoder = load_text_encoder()
        mentions = MentionIndex(shell.catalogue, shell.facets).read
        return planner_of(self._models[name], name, tools=shell.tools(), encode=self._encoder.encode, mentions=mentions)

    def _grounded(self, shell: Shell) -> Planner:
        mentions = MentionIndex(shell.catalogue, shell.facets).read
        return LlmPlanner(
            self._untuned(), name="grounded", tools=shell.tools(), demonstrations=self._index(shell), mentions=mentions
        )

    def _demonstrations(self, shell: Shell) -> Planner:
        return LlmPlanner(
            self._untuned(), name="demonstrations", tools=shell.tools(), demonstrations=self._index(shell)
        )

    def _grammar(self, shell: Shell) -> Planner:
        return LlmPlanner(self._untuned(), name="grammar", tools=shell.tools(), demonstrations=None)

    def _rules(self, shell: Shell) -> Planner:
        return RulePlanner(shell.facets, MentionIndex(shell.catalogue, shell.facets).read)


# -- IARD -----------------------------------------------------------------------------------------------------


def plan_turns(make: Make, turns: Sequence[Turn], shell: Shell, progress: Callable[[], None]) -> list[Outcome]:
    """Each turn planned."""
    planner, table = make(shell), Table.of(shell)
    found = []
    for turn in turns:
        found.append((turn, ask(planner, table.request(turn.say, past=turn.past, shown=turn.shown))))
        progress()
    return found


def turn_right(turn: Turn, answer: Answer) -> bool:
    return answer.failed is None and right(turn.labels, answer.names)


def iard_rows(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """A line over all turns, one over those with one label, one over those with several, and one an intent."""

    def line(what: str, told: str, chosen: Callable[[Turn], bool]) -> Row:
        row: dict[str, str | float | int] = {"turns of": what, "meaning": told}
        for name, its in outcomes.items():
            share = Share.of(turn_right(turn, answer) for turn, answer in its if chosen(turn))
            row["turns"] = share.n
            row[f"{name}: plan right (%)"] = share.told()
        return row

    rows = [
        line("all", "", lambda turn: True),
        line("one label", "", lambda turn: len(turn.labels) == 1),
        line("several labels", "", lambda turn: len(turn.labels) > 1),
    ]
    for intent, wanted in INTENTS.items():
        rows.append(line(intent, wanted.meaning, lambda turn, intent=intent: intent in turn.labels))  # type: ignore[misc]
    times: dict[str, str | float | int] = {"turns of": "median (ms)", "meaning": ""}
    for name, its in outcomes.items():
        times[f"{name}: plan right (%)"] = round(1000 * float(np.median([answer.seconds for _, answer in its])))
    return [*rows, times]


# -- the run --------------------------------------------------------------------------------------------------


def held_out(limit: int | None) -> list[Record]:
    """The held-out records; with a limit, so many of them, spread evenly over the files."""
    found = [record for path in sorted(HELD_OUT.glob("*.jsonl")) for record in read_records(path)]
    return [found[at] for at in spread(len(found), limit)]


def spread(n: int, limit: int | None) -> list[int]:
    """Positions of at most ``limit`` of n, evenly apart."""
    kept = n if limit is None else min(n, limit)
    return [at * n // kept for at in range(kept)]


def part_rows(results: Sequence[Result], of: Callable[[Record], str], what: str) -> list[Row]:
    """The share of right plans, and of plans right with their arguments, by a group of records."""
    rows: list[Row] = []
    parts = [result.by(of) for result in results]
    for name in parts[0]:
        row: dict[str, str | float | int] = {what: name, "records": len(parts[0][name].scored)}
        for part in parts:
            row[f"{part[name].planner}: plan right (%)"] = part[name].plan.told()
            row[f"{part[name].planner}: all right (%)"] = part[name].right.told()
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planners", help="names, with commas between: default, grounded, ... (all, if not given)")
    parser.add_argument("--limit", type=int, help="held-out records and turns, at most, evenly chosen")
    parser.add_argument("--llm", help="the model of 'default': a GGUF file or hf:owner/repository/file.gguf")
    parser.add_argument("--adapter", type=Path, help="a LoRA adapter in GGUF for it: planner 'adapter'")
    parser.add_argument("--data", type=Path, default=os.environ.get("LLM4REC_DATA"), help="folder with iard/")
    parser.add_argument("--out", default="planning", help="the reports' name in benchmarks/results")
    parser.add_argument("--answers", type=Path, help="write each held-out record's plan there (JSON Lines)")
    chosen = parser.parse_args(arguments)
    makers = Makers(chosen.llm, chosen.adapter)
    names = chosen.planners.split(",") if chosen.planners else list(makers.by_name)
    unknown = [name for name in names if name not in makers.by_name]
    if unknown:
        parser.error(f"no planner {', '.join(unknown)}: there are {', '.join(makers.by_name)}")
    dialogues = chosen.data / "iard" / "dialogues.json" if chosen.data else None
    if dialogues is not None and not dialogues.exists():
        parser.error(f"there is no {dialogues}")

    records = held_out(chosen.limit)
    shells = shells_for(records)
    turns: list[Turn] = []
    if dialogues is not None:
        every = read_turns(dialogues)
        turns = [every[at] for at in spread(len(every), chosen.limit)]
    results: list[Result] = []
    outcomes: dict[str, list[Outcome]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        for name in names:
            make = makers.by_name[name][1]
            task = bar.add_task(f"{name}: held-out", total=len(records))
            results.append(evaluate(make, records, shells, name=name, progress=lambda task=task: bar.advance(task)))  # type: ignore[misc]
            if dialogues is not None:
                task = bar.add_task(f"{name}: IARD", total=len(turns))
                outcomes[name] = plan_turns(make, turns, shell_for(dialogues), lambda task=task: bar.advance(task))  # type: ignore[misc]
    makers.close()

    told = [f"{name}: {makers.by_name[name][0]}." for name in names]
    notes = [
        f"{len(records)} held-out messages in five trades, written apart from the phrasings that the planner learned "
        "from. What is right, and how arguments are counted, is told in llm4rec.agent.tuning.scoring.",
        *told,
        f"95 % intervals: Wilson's for shares, bootstrap over records for F1. {threads.llm_threads()} threads; times "
        "are wall clock and hold for the load told below.",
    ]
    print(write(chosen.out, [result.row() for result in results], notes, {"bootstrap": 0}))
    figures = RESULTS / f"{chosen.out}.json"
    content = json.loads(figures.read_text(encoding="utf-8"))
    content["results"] = [result.as_json() for result in results]
    figures.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    notes = [f"The shares of {chosen.out}.md by group.", *told]
    for what, of in (("domain", lambda record: record.domain), ("kind", lambda record: record.kind)):
        print(write(f"{chosen.out}-{what}s", part_rows(results, of, what), notes, {}))
    if outcomes:
        notes = [
            f"{len(turns)} seeker turns of {len({turn.dialogue for turn in turns})} dialogues between people (IARD, "
            "Cai & Chen 2020), measured on and never trained, tuned or chosen by. A turn counts for each label.",
            "Which tools an intent asks for is told, with reasons, in benchmarks/iard.py; the map was fixed before any "
            "planner was scored. Arguments are not labelled and not scored.",
            *told,
            "95 % Wilson intervals; turns of one dialogue are not independent, so they are a little too narrow.",
        ]
        print(write(f"{chosen.out}-iard", iard_rows(outcomes), notes, {}))
    if chosen.answers:
        lines = [
            json.dumps(
                {
                    "planner": result.planner,
                    "record": scored.record.model_dump(mode="json", by_alias=True),
                    "calls": list(scored.answer.calls),
                    "failed": scored.answer.failed,
                    "plan_right": scored.plan_right,
                    "right": scored.right,
                },
                ensure_ascii=False,
            )
            for result in results
            for scored in result.scored
        ]
        chosen.answers.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
