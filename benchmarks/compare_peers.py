"""Lists by other frameworks, and ``llm4rec replay`` of them beside the rankers: the same folds, rules and intervals.

    python benchmarks/compare_peers.py [DATA] [--sets ml-100k-posters amazon-office yelp] [--models lenskit-ease ...]
                                       [--seeds 5] [--minutes 15] [--out FOLDER] [--workspace FOLDER] [-- OPTIONS]

DATA (or LLM4REC_DATA) holds the sets' folders. The frameworks (``peers/requirements.txt``) are installed into
``peers/.venv`` the first time, about 7 GB. Folds are exported, ``peers/make_lists.py`` chooses each model's settings on
the validation fold and makes lists for the test fold, and ``bench_replay.py`` replays them in its main table; what
stands after ``--`` goes to it. With ``--out`` all is kept there, and what an earlier run finished is used again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Row, write

SETS = ("ml-100k-posters", "amazon-office", "yelp")
HERE = Path(__file__).parent
PEERS = HERE / "peers"


def environment() -> Path:
    """The Python of the environment that holds the frameworks; installs them where they are not there yet.

    Raises:
        SystemExit: they cannot be installed.
    """
    folder, wanted = PEERS / ".venv", PEERS / "requirements.txt"
    python, stamp = folder / "bin" / "python", folder / "installed"
    now = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != now:
        venv.create(folder, with_pip=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=False)
        if done.returncode:
            raise SystemExit("the frameworks could not be installed")
        stamp.write_text(now)
    return python


def exported(source: Sequence[str], out: Path) -> Path:
    """The folder of the test and the validation fold.

    Raises:
        SystemExit: the command failed.
    """
    folds = out / "folds"
    for part in ((), ("--validation",)):
        asked = [*source, *part, "--out", str(out / "loo"), "--export", str(folds)]
        subprocess.run([sys.executable, "-m", "llm4rec", "replay", *asked], check=True)
    return folds


def listed(
    python: Path, folds: Path, out: Path, models: Sequence[str], seeds: int, minutes: float
) -> list[dict[str, Any]]:
    """What was tried of each model; its lists lie beside it in ``out``.

    Raises:
        subprocess.CalledProcessError: the lists could not be made.
    """
    folders = ["--validation", folds / "loo-validation", "--test", folds / "loo-test", "--out", out]
    told = ["--seeds", str(seeds), "--minutes", str(minutes), *(["--models", *models] if models else [])]
    subprocess.run([python, PEERS / "make_lists.py", *folders, *told, "--resume"], check=True)
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def rows_of(name: str, tried: Sequence[dict[str, Any]]) -> list[Row]:
    """A row for each model: what was chosen, and which is its framework's best on validation."""
    best: dict[str, float] = {}
    for one in tried:
        framework = one["model"].partition("-")[0]
        best[framework] = max(best.get(framework, 0.0), one.get("validation ndcg@10", 0.0))
    return [
        {
            "set": name,
            "model": one["model"],
            "settings": one.get("error") or ", ".join(f"{setting} {value}" for setting, value in one["chosen"].items()),
            "settings tried": len(one.get("tried", ())),
            "of": one.get("of grid", ""),
            "validation NDCG@10": one.get("validation ndcg@10", ""),
            "framework's best": "yes" if one.get("validation ndcg@10") == best[one["model"].partition("-")[0]] else "",
            "fit and lists CPU s": ", ".join(f"{second:g}" for second in one.get("fit and list CPU seconds", ())),
        }
        for one in tried
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, further = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--models", nargs="*", default=[], help="of peers/make_lists.py; all where none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--minutes", type=float, default=15, help="of CPU time, for the choice of each model's settings"
    )
    parser.add_argument("--out", type=Path, help="kept; what is there already is used")
    parser.add_argument("--workspace", type=Path, help="a build of the one set named, in place of building it")
    parser.add_argument("--python", type=Path, help="of an environment with the frameworks, in place of peers/.venv")
    asked = parser.parse_args(own)
    if asked.data is None:
        print("skipped: name the folder of the data sets, or set LLM4REC_DATA")
        return
    python = asked.python or environment()
    with tempfile.TemporaryDirectory() as temporary:
        for name in asked.sets:
            kept = asked.out or Path(temporary)
            place = ["--workspace", str(asked.workspace)] if asked.workspace else []
            folds = exported(place or ["--data", str(Path(asked.data) / name)], kept / name)
            lists = kept / name / "lists"
            tried = listed(python, folds, lists, asked.models, asked.seeds, asked.minutes)
            notes = [
                "settings are chosen by NDCG@10 on the validation fold (each user's last event but one), seed 0, and "
                "fitted anew on all but the last event; figures of the test stand in the set's replay table"
            ]
            write(f"peers-{name}", rows_of(name, tried), notes, {"seeds": asked.seeds})
            told = [asked.data, "--sets", name, "--parts", "main", "--seeds", str(asked.seeds), "--out", kept, *place]
            told += ["--lists", *sorted(lists.glob("*.parquet")), *further]
            subprocess.run([sys.executable, HERE / "bench_replay.py", *map(str, told)], check=True)


if __name__ == "__main__":
    main()
