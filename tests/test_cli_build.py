"""Builds that are stopped, continued, repeated, or out of space: in processes of their own where that matters."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chroma_server import running_server
from llm4rec.agent.recommender import Recommender
from terminal import command, process

STAGES = ["read", "text view", "image view", "models", "bias"]


@pytest.fixture
def data(shop_built: Path) -> Path:
    return shop_built.parent / "data"


def finished_stages(workspace: Path) -> dict[str, Any]:
    found = list(workspace.glob("staging/*/stages.json"))
    return json.loads(found[0].read_text()) if found else {}


def stop_at(step: str, workspace: Path, data: Path, number: signal.Signals) -> tuple[int, str]:
    """Start a build and send it a signal once it says that a step begins; its exit code and stderr."""
    child = process("build", "--data", data, "-w", workspace, cwd=workspace.parent)
    assert child.stderr is not None
    said = ""
    for line in child.stderr:
        said += line
        if line.startswith(step):
            break
    child.send_signal(number)
    _, rest = child.communicate()
    return child.returncode, said + rest


def test_a_killed_and_an_interrupted_build_go_on(data: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    code, err = stop_at("loading the text model", workspace, data, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert list(finished_stages(workspace)) == ["read"]
    assert "no finished build" in command("recommend", "--user", "u1", "-w", workspace).complaint
    (items,) = workspace.glob("staging/*/items.parquet")
    written = items.stat().st_mtime_ns

    code, err = stop_at("loading the text model", workspace, data, signal.SIGINT)
    assert code == 130
    assert err.splitlines()[-1] == "llm4rec: stopped; the same command continues the build"
    assert "Traceback" not in err
    assert "reading" not in err

    done = command("build", "--data", data, "--json", "-w", workspace)
    manifest = done.document
    assert manifest["schema"] == "llm4rec.build/1"
    assert (manifest["items"], manifest["users"], manifest["interactions"]) == (64, 40, 480)
    assert "reading" not in done.err
    assert list(manifest["seconds"]) == STAGES
    assert (workspace / "current" / "items.parquet").stat().st_mtime_ns == written
    assert not [path for path in (workspace / "staging").iterdir() if path.is_dir()]
    assert command("search", "warm lamp", "-k", "1", "--json", "-w", workspace).document["cards"]
    assert command("recommend", "--user", "u1", "-k", "1", "--json", "-w", workspace).document["cards"]


def test_a_build_again_keeps_what_people_said(shop: Path, data: Path) -> None:
    first = (shop / "current").resolve()
    abandoned = shop / "staging" / "0123456789abcdef"
    abandoned.mkdir()
    (abandoned / "stages.json").write_text("{}")
    with Recommender.open(shop, llm="rules") as reader:
        reader.feedback("kim", "like", "p3")
        told = command("build", "--data", data, "-w", shop)
        assert told.code == 0
        assert told.out.startswith("shop: 64 items (51 with a picture), 40 users, 480 interactions.")
        second = (shop / "current").resolve()
        assert second != first
        # the reader goes on with the build it has open
        assert reader.search("warm lamp", k=3).cards
        assert reader.recommend("kim", k=3).cards
        assert reader.feedback("kim", "seen", "p4")
    assert not abandoned.exists()
    events = command("profile", "show", "--user", "kim", "--json", "-w", shop).document["events"]
    assert [event["item"] for event in events] == ["p3", "p4"]
    other = command("build", "--data", data, "--seed", "8", "--without", "graph", "--without", "ease", "-w", shop)
    assert other.code == 0
    assert "the ranker has no graph part: it was left out of this build" in other.out
    assert "the ranker has no sequence part: 80 events to learn from, the least is 500" in other.out
    assert "the ranker's weights are fixed ones" in other.out
    said = {found["text"] for found in command("doctor", "--llm", "rules", "--json", "-w", shop).document["findings"]}
    assert "popularity, transitions, text, image, posterior; fixed weights" in said
    assert "the ranker has no ease part: it was left out of this build" in said
    third = (shop / "current").resolve()
    assert {path.name for path in (shop / "builds").iterdir()} == {second.name, third.name}
    assert "p3" not in {
        card["id"] for card in command("recommend", "--user", "kim", "--json", "-w", shop).document["cards"]
    }


def test_write_mapping(data: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    (bare / "llm4rec.toml").unlink()
    proposed = command("build", "--data", bare, "--write-mapping")
    assert proposed.code == 0
    assert 'file = "products.jsonl"' in proposed.out
    assert not list(tmp_path.rglob("builds"))


class Disk:
    """A file system of its own in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, *options: str) -> None:
        line = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(self.place)]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mount") is None:
        pytest.skip("no mount command here")
    place = tmp_path / "disk"
    place.mkdir()
    disk = Disk(place)
    yield disk
    disk.unmount()


def test_a_full_disk_is_said_and_the_build_continues(disk: Disk, data: Path) -> None:
    workspace = disk.place / "workspace"
    said = f"the disk of {workspace} is full: free some space and run the same command; it continues"
    disk.mount("size=100k")  # full while pictures are copied
    assert said in command("build", "--data", data, "-w", workspace).complaint
    disk.mount("remount", "size=700k")  # and while texts are indexed: Chroma never recovers in one process
    child = process("build", "--data", data, "-w", workspace, cwd=disk.place.parent)
    _, err = child.communicate()
    assert child.returncode == 2
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "read" in finished_stages(workspace)
    disk.mount("remount", "size=64m")
    done = command("build", "--data", data, "--json", "-w", workspace)
    assert done.document["items"] == 64
    assert "reading" not in done.err
    assert command("search", "warm lamp", "-k", "1", "--json", "-w", workspace).document["cards"]


def test_the_indexes_can_live_on_a_chroma_server(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    with running_server(tmp_path / "server") as (url, _):
        done = command("build", "--data", data, "--chroma", url, "--json", "-w", workspace)
        assert done.document["chroma"] == url
        assert not list(workspace.glob("builds/*/views/*/chroma"))
        found = command("search", "warm lamp", "-k", "1", "--json", "-w", workspace)
        assert "lamp" in found.document["cards"][0]["title"]
    # it has moved: the environment says where to
    with running_server(tmp_path / "server") as (moved, _):
        assert moved != url
        assert "server" in command("search", "warm lamp", "-w", workspace).complaint
        monkeypatch.setenv("LLM4REC_CHROMA", moved)
        assert command("search", "warm lamp", "-k", "1", "--json", "-w", workspace).document["cards"]
