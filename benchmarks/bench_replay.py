"""Compares the rankers on real logs with ``llm4rec replay``: leave one out by time, full ranking, 95 % intervals.

    python benchmarks/bench_replay.py [DATA] [--sets ml-100k-posters amazon-office yelp] [--policies ...] [--seeds 5]
                                [--out FOLDER]

DATA (or LLM4REC_DATA) holds the sets' folders. The sequence model and what is fused with it take minutes a seed. With
``--out`` the replays are kept there, and what an earlier run finished is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Row, write

SETS = ("ml-100k-posters", "amazon-office", "yelp")
POLICIES = "pop,itemknn,ease,ease-recency,als,transitions,seq,graph,content,fused"
SHOWN = ("ndcg@10", "hr@10", "mrr@10", "ild_text@10", "coverage@10", "novelty@10")


def replayed(data: Path, out: Path, policies: str, seeds: int, workspace: Path | None) -> dict[str, Any]:
    """The document of one replay.

    Raises:
        SystemExit: the command failed.
    """
    source = ["--workspace", str(workspace)] if workspace else ["--data", str(data)]
    asked = ["--policies", policies, "--seeds", str(seeds), "--out", str(out), "--resume", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "llm4rec", "replay", *source, *asked], stdout=subprocess.PIPE, text=True, check=False
    )
    if not done.stdout:
        raise SystemExit(f"the replay of {data.name} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows_of(found: dict[str, Any]) -> list[Row]:
    ratios = {one["policy"]: one for one in found["comparisons"] if one["metric"] == "ndcg@10"}
    return [
        {
            "set": found["data"]["name"],
            "policy": policy["name"],
            "seeds": len(policy["seeds"]),
            **{name: told(policy["metrics"].get(name)) for name in SHOWN},
            f"NDCG@10 against {found['baseline']}": told(ratios.get(policy["name"], {}).get("ratio")),
            "fit s": round(policy["timings"]["fit"], 1),
            "users/s": round(policy["timings"]["users_per_second"] or 0),
            "peak memory MB": round(policy["peak_mb"] or 0),
        }
        for policy in found["policies"]
        if policy["status"] != "failed"
    ]


def notes_of(found: dict[str, Any]) -> list[str]:
    folds = [f"{fold['queries']:,} users asked. {' '.join(fold['notes'])}" for fold in found["protocol"]["folds"]]
    return [*found["protocol"]["rules"], *folds, *found["notes"]]


def told(estimate: dict[str, Any] | None) -> str:
    if not estimate or estimate["mean"] is None:
        return ""
    if estimate["low"] is None:
        return f"{estimate['mean']:.4f}"
    return f"{estimate['mean']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="kept; what is there already is used")
    parser.add_argument("--workspace", type=Path, help="a build of the one set named, in place of building it")
    asked = parser.parse_args(arguments)
    if asked.data is None:
        print("skipped: name the folder of the data sets, or set LLM4REC_DATA")
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name in asked.sets:
            out = (asked.out or Path(temporary)) / name
            found = replayed(Path(asked.data) / name, out, asked.policies, asked.seeds, asked.workspace)
            write(f"replay-{name}", rows_of(found), notes_of(found), {"seeds": asked.seeds})


if __name__ == "__main__":
    main()
