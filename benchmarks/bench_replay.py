"""Compares the rankers on real logs with ``llm4rec replay``: full ranking, 95 % intervals, paired differences.

    python benchmarks/bench_replay.py [DATA] [--sets ml-100k-posters amazon-office yelp]
                                [--parts main ablation cold agent speed] [--seeds 5] [--lists FILE ...]
                                [--workspace FOLDER] [--out FOLDER] [--workers N]

DATA (or LLM4REC_DATA) holds the sets' folders. Five parts, each a table of its own: ``main`` compares the policies
under leave-one-out; ``ablation`` the fused model with and without each of its parts; ``cold`` hides all interactions of
a tenth of the items and ranks those; ``agent`` asks the whole conversation; ``speed`` times what needs no transformer
from start to report. The transformer takes minutes a seed, and is trained once for all who share it. ``--lists`` takes
what other programs listed for the same split (benchmarks/peers). With ``--out`` the replays are kept there, and what an
earlier run finished is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from report import Row, write

SETS = ("ml-100k-posters", "amazon-office", "yelp")
WITHOUT_TRANSFORMER = "pop,itemknn,ease,ease-recency,als,bpr,transitions,graph,content"
POLICIES = f"{WITHOUT_TRANSFORMER},seq,fused"
COLD = "random,pop,text,image,content,fused"
#: Figures of the main table.
SHOWN = ("ndcg@10", "hr@10", "mrr@10", "ild_text@10", "coverage@10", "novelty@10")
#: How a transformer's model tells how long it was trained.
TRAINED = "seconds of training the transformer"


@dataclass(frozen=True)
class Asked:
    """The command's options, for one set."""

    name: str
    data: Path
    out: Path
    seeds: int
    workers: int
    policies: str
    lists: tuple[Path, ...]
    workspace: Path | None


def replayed(asked: Asked, part: str, policies: str, *options: str, resume: bool = True) -> dict[str, Any]:
    """The document of one replay, and how long the command took.

    Raises:
        SystemExit: the command failed.
    """
    source = ["--workspace", str(asked.workspace)] if asked.workspace else ["--data", str(asked.data)]
    command = [sys.executable, "-m", "llm4rec", "replay", *source, "--policies", policies, "--json"]
    command += ["--out", str(asked.out / part), "--workers", str(asked.workers), *options]
    started = time.perf_counter()
    done = subprocess.run([*command, *(["--resume"] if resume else [])], stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"the replay of {asked.name} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["command_seconds"] = time.perf_counter() - started
    return found


def main_table(asked: Asked) -> None:
    """Every policy, with its ratio to the best that is not made of others."""
    policies = ",".join([asked.policies, *(f"lists:{path}" for path in asked.lists)])
    found = replayed(asked, "loo", policies, "--seeds", str(asked.seeds))
    versus = _versus(found, "ndcg@10", "ratio")
    rows = []
    for policy in _done(found):
        trained = policy["figures"].get(TRAINED)
        rows.append(
            {
                **_named(asked, policy),
                **{name: told(policy["metrics"].get(name)) for name in SHOWN},
                f"NDCG@10 over {found['baseline']}": versus.get(policy["name"], ""),
                "fit s": round(policy["timings"]["fit"], 1),
                "of it transformer s": round(trained) if trained else "",
                "users/s": round(policy["timings"]["users_per_second"] or 0),
                "peak memory MB": round(policy["peak_mb"] or 0),
            }
        )
    write(f"replay-{asked.name}", rows, notes_of(found), {"seeds": asked.seeds})


def ablation(asked: Asked) -> None:
    """The fused model without each of its parts, with the paired difference to the whole."""
    from llm4rec.evaluation.policies import ablations

    policies = ",".join(["fused", *ablations()])
    found = replayed(asked, "loo", policies, "--seeds", str(asked.seeds), "--baseline", "fused")
    compared = {name: _versus(found, name, "difference") for name in ("ndcg@10", "hr@10")}
    rows = [
        {
            **_named(asked, policy),
            **{name: told(policy["metrics"].get(name)) for name in SHOWN},
            **{f"{name} less fused": compared[name].get(policy["name"], "") for name in compared},
        }
        for policy in _done(found)
    ]
    write(f"ablation-{asked.name}", rows, notes_of(found), {"seeds": asked.seeds})


def cold(asked: Asked) -> None:
    """Items whose interactions were all hidden, ranked among themselves and among all."""
    rows, notes = [], []
    for among in ("hidden", "all"):
        options = ("--protocol", "cold", "--among", among, "--seeds", str(asked.seeds))
        found = replayed(asked, "cold", COLD, *options, "--baseline", "random")
        versus = _versus(found, "ndcg@10", "difference")
        notes = notes_of(found)
        rows += [
            {
                **_named(asked, policy),
                "ranked": "among the hidden" if among == "hidden" else "among all",
                **{name: told(policy["metrics"].get(name)) for name in ("ndcg@10", "hr@10", "recall@10")},
                "NDCG@10 less random": versus.get(policy["name"], ""),
            }
            for policy in _done(found)
        ]
    write(f"cold-{asked.name}", rows, notes, {"seeds": asked.seeds})


def speed(asked: Asked) -> None:
    """What needs no transformer, anew, one seed: from the command to its report."""
    found = replayed(asked, "speed", WITHOUT_TRANSFORMER, "--seeds", "1", resume=False)
    rows: list[Row] = [
        {
            **_named(asked, policy),
            "fit s": round(policy["timings"]["fit"], 2),
            "users/s": round(policy["timings"]["users_per_second"] or 0),
            "peak memory MB": round(policy["peak_mb"] or 0),
        }
        for policy in _done(found)
    ]
    rows.append({"set": asked.name, "policy": "the whole command", "fit s": round(found["command_seconds"], 1)})
    write(f"speed-{asked.name}", rows, notes_of(found), {"seeds": 1})


def agent(asked: Asked) -> None:
    """The whole conversation, a turn a user, beside the ranker: asked for anything, and for a genre and a decade."""
    rows, notes = [], []
    for kind, oracles in (("bare", ""), ("genre-decade", ",fused-filtered,fused-filtered@diverse=0.4")):
        options = ("--requests", kind, "--seeds", "1", "-k", "10", "--baseline", "fused")
        policies = f"agent,fused,fused@diverse=0.4{oracles}"
        found = replayed(replace(asked, workers=1), "agent", policies, *options)
        versus = _versus(found, "ndcg@10", "ratio")
        notes = notes_of(found)
        rows += [
            {
                **_named(asked, policy),
                "request": kind,
                **{name: told(policy["metrics"].get(name)) for name in ("ndcg@10", "hr@10")},
                "NDCG@10 over fused": versus.get(policy["name"], ""),
                **_turns(policy["figures"]),
            }
            for policy in _done(found)
        ]
    write(f"agent-{asked.name}", rows, notes, {"seeds": 1})


def _turns(figures: dict[str, float]) -> Row:
    """What the turns of a conversation cost; nothing for policies that give scores."""
    if "turns" not in figures:
        return {}
    return {
        "turns": round(figures["turns"]),
        "failed": round(figures["turns_failed"]),
        "LLM asked": f"{figures['llm_asked']:.1%}",
        "prompt tokens a turn": round(figures.get("prompt_tokens_per_turn", 0), 1),
        "generated": round(figures.get("generated_tokens_per_turn", 0), 1),
        "tool calls a turn": round(figures["tool_calls_per_turn"], 2),
        "turn s, median": round(figures["seconds_p50"], 3),
        "turn s, 95 %": round(figures["seconds_p95"], 3),
    }


PARTS: dict[str, Callable[[Asked], None]] = {
    "main": main_table,
    "ablation": ablation,
    "cold": cold,
    "agent": agent,
    "speed": speed,
}


def told(estimate: dict[str, Any] | None) -> str:
    if not estimate or estimate["mean"] is None:
        return ""
    if estimate["low"] is None:
        return f"{estimate['mean']:.4f}"
    return f"{estimate['mean']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def notes_of(found: dict[str, Any]) -> list[str]:
    folds = [f"{fold['queries']:,} users asked. {' '.join(fold['notes'])}" for fold in found["protocol"]["folds"]]
    return [*found["protocol"]["rules"], *folds, *found["notes"]]


def _done(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [policy for policy in found["policies"] if policy["status"] != "failed"]


def _named(asked: Asked, policy: dict[str, Any]) -> dict[str, str | int]:
    return {"set": asked.name, "policy": policy["name"], "seeds": len(policy["seeds"])}


def _versus(found: dict[str, Any], metric: str, what: str) -> dict[str, str]:
    return {one["policy"]: told(one[what]) for one in found["comparisons"] if one["metric"] == metric}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=tuple(PARTS))
    parser.add_argument("--policies", default=POLICIES, help="of the main table")
    parser.add_argument("--lists", nargs="*", type=Path, default=(), help="of other programs, for the main table")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="processes; with 1 figures of time are of all threads")
    parser.add_argument("--out", type=Path, help="kept; what is there already is used")
    parser.add_argument("--workspace", type=Path, help="a build of the one set named, in place of building it")
    given = parser.parse_args(arguments)
    if given.data is None:
        print("skipped: name the folder of the data sets, or set LLM4REC_DATA")
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.sets:
            asked = Asked(
                name=name,
                data=Path(given.data) / name,
                out=(given.out or Path(temporary)) / name,
                seeds=given.seeds,
                workers=given.workers,
                policies=given.policies,
                lists=tuple(given.lists),
                workspace=given.workspace,
            )
            for part in given.parts:
                PARTS[part](asked)


if __name__ == "__main__":
    main()
