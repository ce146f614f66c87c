"""Measures a build of 25 million ratings, and recommending from it: time and peak memory, each in a process of its own.

    python benchmarks/bench_large.py [--ratings 25000000] [--users 162541] [--items 59047] [--seed 7] [--folder F]

The log is generated (see generate_log.py), in the format and of the size of MovieLens 25M. What is run are the
command line's own commands. The folder takes about 3 GB; it is removed afterwards unless it was named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from generate_log import generate
from report import Row, write

PEOPLE = 3


@dataclass(frozen=True)
class Ran:
    """How a command went: its output, wall and processor seconds, and peak resident memory in GB."""

    out: str
    seconds: float
    busy: float
    peak: float


def run(*arguments: object) -> Ran:
    """Run ``llm4rec`` in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "llm4rec", *map(str, arguments)], stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    assert child.stdout is not None
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"llm4rec {arguments[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return Ran(out, time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def row(what: str, ran: Ran, **more: str | float) -> Row:
    return {
        "what": what,
        "seconds": round(ran.seconds, 1),
        "processor s": round(ran.busy, 1),
        "peak memory GB": round(ran.peak, 2),
        **more,
    }


def measure(folder: Path, seed: int, ratings: int, users: int, items: int) -> list[Row]:
    data, workspace = folder / "data", folder / "workspace"
    if not (data / "ratings.csv").exists():
        generate(data, ratings, users, items, seed)
    built = run("build", "--data", data, "--workspace", workspace, "--json")
    manifest = json.loads(built.out)
    stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in manifest["seconds"].items())
    rows = [
        row(
            f"build: {manifest['users']:,} users, {manifest['items']:,} items, {manifest['interactions']:,} ratings",
            built,
            **{"stages (s)": stages},
        )
    ]
    for user in range(1, PEOPLE + 1):
        told = run("recommend", "--user", user, "-k", 10, "--workspace", workspace, "--json")
        cards = json.loads(told.out)["cards"]
        rows.append(row(f"recommend, from opening to the list: {len(cards)} items", told))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=25_000_000)
    parser.add_argument("--users", type=int, default=162_541)
    parser.add_argument("--items", type=int, default=59_047)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="kept; data that are there already are used")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(asked.folder or Path(temporary), asked.seed, asked.ratings, asked.users, asked.items)
    write(
        "large",
        rows,
        [
            "Peak memory: resident, of the process that ran the command.",
            "Generated ratings: the figures say how long it takes, nothing of how good the lists are.",
        ],
        {"log": asked.seed},
    )


if __name__ == "__main__":
    main()
