"""``llm4rec replay``: what it prints and writes, what it keeps, and what it says of bad requests."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest
from llm4rec.catalog.interactions import load_interactions, write_interactions
from llm4rec.catalog.items import Catalogue
from llm4rec.catalog.readers import read
from llm4rec.catalog.workspace import Workspace
from llm4rec.cli import building
from llm4rec.evaluation import policies as registry
from llm4rec.evaluation.metrics import accuracy
from llm4rec.evaluation.policies import Policy, PolicyInputs, policies_named, policy_named
from llm4rec.evaluation.protocols.loo import loo
from llm4rec.evaluation.results import DataInfo
from llm4rec.evaluation.run import replay
from llm4rec.evaluation.summary import summarise
from llm4rec.ranking.base import Model
from llm4rec.ranking.log import Log, Pasts
from numpy.typing import NDArray
from terminal import Ended, command

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "docs" / "schemas"


class Scorer:
    """A model that scores by the popularity of the train log, spoiled by a function."""

    name = "scorer"

    def __init__(self, inputs: PolicyInputs, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.n_items = inputs.train.n_items
        self.counts = inputs.train.counts.astype(np.float32)
        self.spoil = spoil

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        return self.spoil(np.tile(self.counts, (len(pasts), 1)))


def nowhere(inputs: PolicyInputs) -> Model:
    raise RuntimeError("half-way\nthere")


def not_numbers(inputs: PolicyInputs) -> Model:
    return Scorer(inputs, lambda scores: np.where(np.arange(len(scores))[:, None] == 0, np.nan, scores))


@pytest.fixture
def bad_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the policies ``raises`` and ``nan``."""
    makers = {
        **registry._MAKERS,
        "raises": lambda: Policy("raises", nowhere),
        "nan": lambda: Policy("nan", not_numbers),
    }
    monkeypatch.setattr(registry, "_MAKERS", makers)


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """What must not change when a replay is run again."""
    kept = ("name", "status", "seeds", "metrics", "by_seed", "groups", "shown", "rounds", "unfit")
    return {
        "policies": [{name: policy[name] for name in kept} for policy in document["policies"]],
        "comparisons": document["comparisons"],
    }


def report(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


# What it prints and writes


def test_leave_one_out(shop_built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = command(
        "replay", "-w", shop_built, "--policies", "pop,itemknn,random", "-k", "5,10", "--seeds", "2", "--out", out,
        "--json",
    ).document  # fmt: skip
    jsonschema.validate(found, json.loads((SCHEMAS / "replay.json").read_text()))
    assert found["schema"] == "llm4rec.replay/1"
    assert json.loads((out / "replay.json").read_text()) == found
    log = Log.of(load_interactions(Workspace(shop_built).open().path))
    fold = loo(log)
    assert found["protocol"]["folds"][0]["queries"] == len(fold) == 40
    lists = replay([fold], [policy_named("itemknn")], out=tmp_path / "apart", ks=(10,)).lists(fold.name, "itemknn", 0)
    expected = accuracy(lists.hits, fold.n_targets, (5, 10))
    of = {policy["name"]: policy for policy in found["policies"]}
    for name, values in expected.items():
        assert of["itemknn"]["metrics"][name]["mean"] == pytest.approx(values.mean())
    assert of["random"]["seeds"] == [0, 1]
    assert of["pop"]["seeds"] == [0]
    assert {"ild_text@5", "ild_image@5", "ild_categories@5", "calibration_categories@5", "coverage@10"} <= set(
        of["pop"]["metrics"]
    )
    assert "NDCG@5" in report(out)


def test_for_people(shop_built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command("replay", "-w", shop_built, "--policies", "pop,itemknn", "--baseline", "pop", "--out", out)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("shop, protocol loo: 40 users, 64 items, 480 interactions")
    assert "later events included" in lines[1]  # before any figure
    assert done.out.index("later events included") < done.out.index("NDCG@10")
    for part in (
        "Accuracy",
        "Beyond accuracy",
        "Coverage",
        "ILD (text)",
        "Popularity lift",
        "fit s",
        "baseline",
        "gap",
    ):
        assert part in done.out
    document = json.loads((out / "replay.json").read_text())
    for policy in document["policies"]:
        found = policy["metrics"]["ndcg@10"]
        assert f"{found['mean']:.4f} ({found['low']:.4f} to {found['high']:.4f})" in done.out
    assert f"Page: {out / 'report.html'}" in lines[-1]
    assert all(line == line.rstrip() for line in lines)
    assert "cells ..." in done.err  # how far it is, apart from the report


def test_narrow_terminals(shop_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm4rec.cli import show

    monkeypatch.setenv("COLUMNS", "80")
    show._console.cache_clear()
    done = command("replay", "-w", shop_built, "--policies", "pop,itemknn", "--out", tmp_path / "out")
    show._console.cache_clear()
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert re.search(r"pop +0\.\d{4}", done.out)


def test_validation_asks_the_event_before_the_last(shop_built: Path, tmp_path: Path) -> None:
    found = command(
        "replay", "-w", shop_built, "--policies", "pop", "--validation", "--out", tmp_path / "out", "--json"
    ).document
    (fold,) = found["protocol"]["folds"]
    assert fold["name"] == "loo-validation"
    assert fold["train_interactions"] == 480 - 80


def test_windows(shop_built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = command(
        "replay", "-w", shop_built, "--protocol", "temporal", "--windows", "3", "--train-share", "0.6", "--policies",
        "pop,itemknn", "-k", "5", "--out", out, "--json",
    ).document  # fmt: skip
    assert [fold["name"] for fold in found["protocol"]["folds"]] == [f"temporal-{at}of3" for at in (1, 2, 3)]
    assert found["protocol"]["folds"][0]["train_interactions"] == pytest.approx(288, abs=15)
    assert 'id="folds"' in report(out)


def test_interactive(shop_built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command(
        "replay", "-w", shop_built, "--protocol", "interactive", "--rounds", "3", "--policies", "pop,itemknn", "-k",
        "4", "--users", "15", "--out", out,
    )  # fmt: skip
    assert done.code == 0
    assert "after 3" in done.out
    assert "15 queries" in done.out
    assert "not asked: 25 users not drawn" in done.out
    document = json.loads((out / "replay.json").read_text())
    for policy in document["policies"]:
        reached = [played["recall"]["mean"] for played in policy["rounds"]]
        assert len(reached) == 3
        assert reached == sorted(reached)


@pytest.mark.parametrize("among", ["hidden", "all"])
def test_cold_start(shop_built: Path, tmp_path: Path, among: str) -> None:
    found = command(
        "replay", "-w", shop_built, "--protocol", "cold", "--hidden", "0.2", "--among", among, "--policies", "pop,text",
        "--out", tmp_path, "--json",
    ).document  # fmt: skip
    (fold,) = found["protocol"]["folds"]
    assert fold["candidates"] == (13 if among == "hidden" else 64)
    assert "cold start" in fold["notes"][0]


@pytest.fixture
def matrices(tmp_path: Path) -> tuple[Path, Path]:
    """Ratings that users chose to give, and ratings of items drawn at random."""
    rng = np.random.default_rng(5)
    users, items = 40, 25
    tables = [np.zeros((users, items), dtype=int) for _ in range(2)]
    for user in range(users):
        drawn = rng.permutation(items)
        tables[0][user, drawn[:8]] = rng.integers(1, 6, 8)
        tables[1][user, drawn[8:16]] = rng.integers(1, 6, 8)
    folder = tmp_path / "coats"
    folder.mkdir()
    for name, table in zip(("train", "test"), tables, strict=True):
        np.savetxt(folder / f"{name}.ascii", table, fmt="%d")
    return folder / "train.ascii", folder / "test.ascii"


def test_not_at_random(matrices: tuple[Path, Path], tmp_path: Path) -> None:
    train, test = matrices
    asked = ("replay", "--protocol", "mnar", "--train", train, "--test", test, "-k", "5", "--out", tmp_path / "out")
    found = command(*asked, "--policies", "pop,itemknn", "--relevant", "3", "--json").document
    assert (found["data"]["name"], found["data"]["users"], found["data"]["items"]) == ("coats", 40, 25)
    assert "missing not at random" in found["protocol"]["folds"][0]["notes"][0]
    # What a policy needs and these data lack fails that policy, and no more.
    done = command(*asked, "--policies", "pop,content")
    assert done.code == 1
    assert "the policy 'content' needs the text or the image view" in done.out
    assert "needs the text or the image view" in report(tmp_path / "out")


# A workspace of the data


def test_data_are_built_once(shop_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(shutil.copytree(shop_built.parent / "data", tmp_path / "data"))
    built = []

    def run_build(data: Path, workspace: Path, *, without: Sequence[str]) -> Any:
        assert "sequence" in without  # a replay trains its own transformers, on its own train logs
        built.append(data)
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(shop_built, workspace, symlinks=True)
        return Workspace(workspace).open()

    monkeypatch.setattr(building, "run_build", run_build)
    asked = ("replay", "--data", data, "--policies", "pop", "--out", tmp_path / "out")
    first = command(*asked)
    assert first.code == 0
    assert f"building a workspace of {data}" in first.err
    again = command(*asked)
    assert "using the workspace" in again.err
    assert len(built) == 1
    with (data / "ratings.csv").open("a") as file:
        file.write("u1,p63,5,1800000000\n")
    assert "building a workspace" in command(*asked).err
    assert len(built) == 2


@pytest.mark.slow
def test_from_data_to_report(shop_built: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(shop_built.parent / "data", tmp_path / "data"))
    asked = ("replay", "--data", data, "--policies", "pop,content", "--out", tmp_path / "out")
    found = command(*asked, "--json").document
    assert found["data"]["name"] == "shop"
    assert Workspace(tmp_path / "out" / "workspace").open().manifest.items == 64
    assert "using the workspace" in command(*asked).err


# What goes wrong on the way


def test_a_policy_that_fails_does_not_stop_the_others(shop_built: Path, tmp_path: Path, bad_policies: None) -> None:
    out = tmp_path / "out"
    done = command("replay", "-w", shop_built, "--policies", "raises,pop", "--out", out)
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    assert "RuntimeError: half-way there" in done.out
    document = json.loads((out / "replay.json").read_text())
    assert [failure["policy"] for failure in document["failures"]] == ["raises"]
    assert document["policies"][1]["metrics"]["ndcg@10"]["mean"] is not None
    assert "RuntimeError" in report(out)


def test_scores_that_are_no_numbers_are_misses_and_are_counted(
    shop_built: Path, tmp_path: Path, bad_policies: None
) -> None:
    out = tmp_path / "out"
    done = command("replay", "-w", shop_built, "--policies", "nan,pop", "--out", out)
    assert done.code == 1
    assert "1 queries had a score that is no finite number" in done.out
    document = json.loads((out / "replay.json").read_text())
    assert document["policies"][0]["unfit"] == 1
    assert document["policies"][0]["metrics"]["ndcg@10"]["n"] == 40


def test_resumed_to_the_same_figures(shop_built: Path, tmp_path: Path) -> None:
    asked = ("replay", "-w", shop_built, "--policies", "pop,random,itemknn", "--seeds", "3", "--json", "--out")
    whole = command(*asked, tmp_path / "whole").document
    out = tmp_path / "out"
    command("replay", "-w", shop_built, "--policies", "random", "--seeds", "3", "--out", out)
    for path in sorted((out / "cells").glob("*.json"))[:1]:
        path.unlink()
    resumed = command(*asked, out, "--resume").document
    assert resumed["reused_cells"] == 2
    assert figures(resumed) == figures(whole)
    assert command(*asked, out).document["reused_cells"] == 0


def in_a_terminal(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """A command with a process group of its own, to which Ctrl-C can be sent as a terminal does: to all of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "llm4rec", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_and_resumed(shop_built: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    asked = ("replay", "-w", shop_built, "--policies", "random", "--seeds", "60", "--out", out)
    child = in_a_terminal(*asked, "--workers", workers, cwd=tmp_path)
    until = time.monotonic() + 60
    while len(list((out / "cells").glob("*.json"))) < 3 and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGINT)
    printed, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert not printed
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("llm4rec: stopped; what is finished lies in ")
    assert "--resume" in said.splitlines()[-1]
    finished = len(list((out / "cells").glob("*.parquet")))
    assert 3 <= finished < 60
    resumed = command(*asked, "--resume", "--json").document
    assert 3 <= resumed["reused_cells"] <= finished
    assert figures(resumed) == figures(command(*asked, "--json").document)


@pytest.mark.parametrize("wait", [0.0, 0.2, 0.8])
def test_stopped_while_workers_start(shop_built: Path, tmp_path: Path, wait: float) -> None:
    child = in_a_terminal(
        "replay", "-w", shop_built, "--policies", "als", "--seeds", "90", "--workers", "2", "--out", "out", cwd=tmp_path
    )
    assert child.stderr is not None
    while (line := child.stderr.readline()) and "cells" not in line:
        pass
    time.sleep(wait)
    os.killpg(child.pid, signal.SIGINT)
    printed, said = child.communicate(timeout=60)
    assert (child.returncode, printed) == (130, ""), said
    assert (
        said
        == "llm4rec: stopped; what is finished lies in out, and the same command with --resume goes on from there\n"
    )
    until = time.monotonic() + 10
    while alive(child.pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(group: int) -> bool:
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_worker_processes_give_the_same_figures(shop_built: Path, tmp_path: Path) -> None:
    asked = ("replay", "-w", shop_built, "--policies", "pop,itemknn,random", "--seeds", "2", "--json", "--out")
    alone = command(*asked, tmp_path / "one").document
    assert figures(command(*asked, tmp_path / "two", "--workers", "2").document) == figures(alone)


# Bad requests


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policies", "nope"], "no policy 'nope': there are pop, itemknn"),
        (["--policies", "pop,pop"], "named twice"),
        (["--policies", " , "], "no policy is named"),
        (["--policies", "pop:x+ease"], "write it as ease:0.7"),
        (["--protocol", "nope"], "'nope' is not one of"),
        (["--baseline", "ease", "--policies", "pop"], "the baseline 'ease' is none of the policies: pop"),
        (["-k", "ten"], "-k 'ten' is no list of whole numbers"),
        (["-k", "0"], "-k '0' is no list"),
        (["-k", "5,5"], "has a number twice"),
        (["-k", "-5"], "-k '-5' is no list"),
        (["-k", "5,"], "is no list"),
        (["--seeds", "0"], "--seeds must be from 1 to 1000"),
        (["--users", "0"], "--users must be 1 or more"),
        (["--workers", "0"], "--workers must be 1 or more"),
        (["--windows", "2"], "--windows belongs to --protocol temporal, not to loo"),
        (["--rounds", "2"], "--rounds belongs to --protocol interactive"),
        (["--relevant", "2"], "--relevant belongs to --protocol mnar"),
        (["--protocol", "temporal", "--validation"], "--validation belongs to --protocol loo"),
        (["--protocol", "temporal", "--windows", "0"], "--windows must be 1 or more"),
        (["--protocol", "temporal", "--train-share", "1.5"], "between 0 and 1, not 1.5"),
        (["--protocol", "cold", "--hidden", "0"], "between 0 and 1"),
        (["--protocol", "interactive", "--rounds", "0"], "--rounds must be 1 or more"),
        (["--data", "/nowhere"], "--data and --workspace exclude each other"),
        (["--protocol", "mnar"], "--train and --test"),
        (["--protocol", "ope"], "--workspace has no meaning under --protocol ope"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_requests(shop_built: Path, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = command("replay", "-w", shop_built, "--out", tmp_path / "out", *arguments)
    assert complaint in done.complaint
    assert not (tmp_path / "out" / "replay.json").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--workspace", "nowhere"], "no workspace at nowhere"),
        ([], "no workspace at workspace"),
        (["--data", "data", "--out", "data/replay"], "--out lies inside --data"),
        (["--protocol", "mnar"], "--protocol mnar needs --train FILE"),
        (["--protocol", "mnar", "--train", "a", "--test", "b"], "a is missing"),
        (["--protocol", "ope"], "--protocol ope needs --data"),
        (["--protocol", "ope", "--data", "nowhere"], "nowhere is no folder"),
        (["--protocol", "ope", "--data", "data"], "holds no bandit logs"),
        (
            ["--protocol", "ope", "--data", "data", "--policies", "pop"],
            "--policies has no meaning under --protocol ope",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM4REC_WORKSPACE", raising=False)
    (tmp_path / "data").mkdir()
    assert complaint in command("replay", *arguments).complaint
    assert not (tmp_path / "replay-out" / "replay.json").exists()


def test_the_workspace_may_be_in_the_environment(
    shop_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4REC_WORKSPACE", str(shop_built))
    assert command("replay", "--policies", "pop", "--out", tmp_path).code == 0


def test_a_place_that_is_a_file(shop_built: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("replay", "-w", shop_built, "--policies", "pop", "--out", tmp_path / "file")
    assert "is a file, not a folder" in done.complaint


def changed_log(shop: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change the log of a workspace in place; as many rows of each user must stay."""
    path = shop / "current" / "interactions.parquet"
    frame = change(pl.read_parquet(path))
    path.unlink()
    frame.write_parquet(path)


def test_one_timestamp_for_all(shop: Path, tmp_path: Path) -> None:
    changed_log(shop, lambda log: log.with_columns(time=pl.lit(1_700_000_000, dtype=pl.Int64)))
    asked = ("replay", "-w", shop, "--policies", "pop", "--out", tmp_path / "out")
    said = command(*asked, "--protocol", "temporal").complaint
    assert "one timestamp" in said
    assert "--protocol loo" in said
    done = command(*asked)  # the order within a user is still there
    assert done.code == 0
    assert "all events have one timestamp: the order within each user stands for time" in done.out


def test_no_times(shop: Path, tmp_path: Path) -> None:
    changed_log(shop, lambda log: log.with_columns(time=pl.lit(None, dtype=pl.Int64)))
    asked = ("replay", "-w", shop, "--policies", "pop", "--out", tmp_path / "out")
    assert "the log has no times" in command(*asked, "--protocol", "temporal").complaint
    assert command(*asked).code == 0


@pytest.mark.parametrize("name", ["items.parquet", "views/text/vectors.npy", "interactions.parquet"])
def test_a_damaged_build(shop: Path, tmp_path: Path, name: str) -> None:
    path = shop / "current" / name
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    assert (
        "build the workspace again" in command("replay", "-w", shop, "--policies", "pop", "--out", tmp_path).complaint
    )


# Logged policies


@pytest.fixture
def bandit_logs(tmp_path: Path) -> Path:
    """Two logged policies over five items; more clicks on items of higher number."""
    rng = np.random.default_rng(4)
    for policy, chances in (("even", np.full(5, 0.2)), ("eager", np.array([0.1, 0.1, 0.2, 0.2, 0.4]))):
        items = rng.choice(5, size=2000, p=chances)
        folder = tmp_path / "logs" / policy / "shoes"
        folder.mkdir(parents=True)
        pl.DataFrame(
            {
                "item_id": items,
                "position": 1 + rng.integers(0, 2, 2000),
                "click": (rng.random(2000) < 0.05 + 0.05 * items).astype(int),
                "propensity_score": chances[items],
            }
        ).write_csv(folder / "shoes.csv")
    return tmp_path / "logs"


def test_off_policy_evaluation(bandit_logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("replay", "--protocol", "ope", "--data", bandit_logs, "--out", out)
    found = command(*asked, "--json").document
    jsonschema.validate(found, json.loads((SCHEMAS / "ope.json").read_text()))
    assert json.loads((out / "ope.json").read_text()) == found
    assert {(one["log"], one["target"]) for one in found["comparisons"]} == {("even", "eager"), ("eager", "even")}
    told = command(*asked)
    assert told.code == 0
    assert told.out.splitlines()[0] == found["first_line"]
    assert "snips" in told.out
    page = report(out)
    assert found["first_line"] in page
    assert 'id="calibration"' in page


# What the documentation says


def test_commands_of_the_page_run(
    shop_built: Path, matrices: tuple[Path, Path], bandit_logs: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    llm4rec ")]
    assert len(commands) >= 8
    theirs = tmp_path / "theirs.parquet"
    pl.DataFrame({"user": ["u0"], "item": ["p1"], "rank": [1]}).write_parquet(theirs)
    stand_ins = {
        "ws": shop_built, "coat/train.ascii": matrices[0], "coat/test.ascii": matrices[1], "obd": bandit_logs,
        "replay-out": tmp_path / "out", "folds": tmp_path / "folds",
        "pop,ease,lists:theirs.parquet": f"pop,ease,lists:{theirs}",
    }  # fmt: skip
    for line in commands:
        words: list[object] = [stand_ins.get(word, word) for word in shlex.split(line)[1:]]
        if "--data" in words and "ope" not in words:  # needs a build
            assert command("replay", "--help").code == 0
            continue
        if "--out" not in words:
            words += ["--out", tmp_path / "out"]
        done: Ended = command(*words)
        assert done.code == 0, (line, done.err)


def test_help_names_every_protocol_and_default() -> None:
    told = " ".join(command("replay", "--help").out.split())
    for word in ("loo", "temporal", "interactive", "mnar", "cold", "ope", "10,5,20", "replay-out", "--resume"):
        assert word in told


# Real data


@pytest.mark.realdata
def test_known_figures_of_movielens(realdata: Path, tmp_path: Path) -> None:
    """Beside an independent implementation: all ratings count, ties in file order, seen items removed."""
    raw = read(realdata / "ml-100k-posters", scratch=tmp_path)
    log = Log.of(write_interactions(raw, tmp_path, Catalogue(raw.catalogue.frame)))
    done = replay([loo(log)], policies_named("pop,itemknn,ease"), out=tmp_path / "out", ks=(10,))
    info = DataInfo(name="ml-100k", users=log.n_users, items=log.n_items, interactions=len(log))
    found = summarise(done, protocol="loo", data=info, ks=(10,))
    known = {"pop": (0.0450, 0.0859), "itemknn": (0.0539, 0.1050), "ease": (0.0723, 0.1485)}
    for policy in found.policies:
        reached = (policy.metrics["ndcg@10"].mean, policy.metrics["hr@10"].mean)
        assert reached == pytest.approx(known[policy.name], abs=0.003), policy.name
