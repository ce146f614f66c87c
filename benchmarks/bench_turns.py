"""How long a person waits: build time, first result and whole turn with the default language model, peak memory.

Run: ``python benchmarks/bench_turns.py [--workspace W] [--turns N]``. Without a workspace the demo is built in a
temporary folder and its build timed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from llm4rec.agent.recommender import Recommender
from llm4rec.builder import build_workspace
from llm4rec.catalog.workspace import Workspace
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


def measure(workspace: Path, turns: int, llm: str | None) -> list[Row]:
    """One row per planner."""
    opened = time.perf_counter()
    with Recommender.open(workspace, llm=llm) as recommender:
        users = recommender.knowledge.interactions.user_ids[:20] or ("a", "b")
        recommender.chat(users[0], MESSAGES[0], thread="warm-up")
        ready = time.perf_counter() - opened
        whole: list[float] = []
        first: list[float] = []
        failed = 0
        for number in range(turns):
            user = users[number // len(MESSAGES) % len(users)]
            turn = recommender.chat(user, MESSAGES[number % len(MESSAGES)], thread=f"bench-{number // len(MESSAGES)}")
            whole.append(turn.seconds["turn"])
            if "first_result" in turn.seconds:
                first.append(turn.seconds["first_result"])
            failed += any(not run.ok for run in turn.tools)
        manifest = recommender.knowledge.build.manifest
        return [
            {
                "catalogue": f"{manifest.source}, {manifest.items} items",
                "planner": recommender.planner.name,
                "turns": turns,
                "turns with a failed call": failed,
                "first result p50 s": round(float(np.percentile(first, 50)), 2),
                "first result p95 s": round(float(np.percentile(first, 95)), 2),
                "turn p50 s": round(float(np.percentile(whole, 50)), 2),
                "turn p95 s": round(float(np.percentile(whole, 95)), 2),
                "ready after s": round(ready, 1),
                "build s": round(sum(manifest.seconds.values()), 0),
                "peak memory GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            }
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--turns", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = asked.workspace or Path(folder) / "demo"
        if not Workspace(workspace).current.exists():
            build_workspace(None, workspace)
        rows = [*measure(workspace, asked.turns, None), *measure(workspace, asked.turns, "rules")]
    write(
        "turns",
        rows,
        [
            "first result: from the message to the list, rendered from the catalogue; turns without a list left out.",
            "ready after: opening the workspace, loading encoders and model, and a first turn.",
            "peak memory is of the process so far: the row of the rules includes what the language model took.",
        ],
        {"messages": len(MESSAGES)},
    )


if __name__ == "__main__":
    main()
