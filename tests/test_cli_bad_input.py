"""Bad input: one clear line on stderr, exit code 2, and nothing lost or half-written."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from llm4rec.catalog.overlay import Overlay
from llm4rec.profiles.store import SqliteProfileStore
from terminal import command, process


@pytest.fixture
def data(shop_built: Path, tmp_path: Path) -> Path:
    """A copy of the shop's data that the test may spoil."""
    return Path(shutil.copytree(shop_built.parent / "data", tmp_path / "data"))


def content(workspace: Path) -> dict[str, object]:
    """What a workspace holds: its files (Chroma's change whenever they are opened), and how far its stores are."""
    files: dict[str, object] = {
        str(path.relative_to(workspace)): path.read_bytes()
        for path in sorted(workspace.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".sqlite" not in path.name
    }
    with Overlay(workspace / "state" / "catalogue.sqlite") as overlay:
        files["live changes"] = overlay.version()
    store = SqliteProfileStore(workspace / "state" / "profiles.sqlite")
    files["users with events"] = store.users()
    store.close()
    return files


def truncated_gzip(data: Path) -> None:
    packed = gzip.compress((data / "ratings.csv").read_bytes())
    (data / "ratings.csv").unlink()
    (data / "ratings.csv.gz").write_bytes(packed[: len(packed) // 2])
    mapping = data / "llm4rec.toml"
    mapping.write_text(mapping.read_text().replace("ratings.csv", "ratings.csv.gz"))


def wrong_column(data: Path) -> None:
    ratings = data / "ratings.csv"
    ratings.write_text(ratings.read_text().replace("customer,", "client,", 1))


def half_a_line(data: Path) -> None:
    products = data / "products.jsonl"
    products.write_text(products.read_text()[:-40])


def nothing(data: Path) -> None:
    shutil.rmtree(data)
    data.mkdir()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (shutil.rmtree, "does not exist"),
        (nothing, "is empty"),
        (truncated_gzip, r"ratings.csv.gz is a gzip cut short or damaged"),
        (wrong_column, "no column 'customer'"),
        (half_a_line, "products.jsonl:64"),
    ],
)
def test_data(shop: Path, data: Path, tmp_path: Path, spoil: Callable[[Path], None], complaint: str) -> None:
    spoil(data)
    before = content(shop)
    done = command("build", "--data", data, "--json", "-w", shop)
    assert complaint in done.complaint
    staged = {name: kept for name, kept in content(shop).items() if not name.startswith("staging/")}
    assert staged == {name: kept for name, kept in before.items() if not name.startswith("staging/")}
    assert command("recommend", "--user", "u1", "-w", shop).code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["recommend", "--user", "nobody"], "unknown user 'nobody'"),
        (["history", "--user", "nobody"], "unknown user 'nobody'"),
        (["explain", "p3", "--user", "nobody"], "unknown user 'nobody'"),
        (["search", "lamp", "--user", "nobody"], "unknown user 'nobody'"),
        (["profile", "show", "--user", "nobody"], "unknown user 'nobody'"),
        (["profile", "export", "--user", "nobody"], "unknown user 'nobody'"),
        (["profile", "reset-dials", "--user", "nobody"], "unknown user 'nobody'"),
        (
            ["profile", "show", "--user", "u1", "--at", "yesterday"],
            "--at 'yesterday' is no date: give a date or a time",
        ),
        (["profile", "show", "--user", "u1", "--at", "2026-02-30"], "--at '2026-02-30' is no date"),
        (["profile", "show", "--user", "u1", "--at", ""], "--at '' is no date"),
        (["profile", "show", "--user", "u1", "--at", "9999-12-31"], "--at '9999-12-31' lies ahead"),
        (["profile", "show", "--user", "u1", "--at", "1066-10-14"], "--at '1066-10-14' lies before 1970"),
        (["profile", "confirm", "Zeppelins", "--user", "u1"], "nothing inferred is called 'Zeppelins'"),
        (["profile", "undo", "--user", "u1"], "nothing to take back"),
        (["profile", "import", "--user", "u1", "none.json"], "none.json"),
        (["profile", "export", "--user", "u1", "--out", "/nowhere/x.json"], "/nowhere/x.json"),
        (["recommend", "--user", "u1", "-k", "0"], "k is 0: it must be from 1 to 50"),
        (["recommend", "--user", "u1", "-k", "51"], "k is 51"),
        (["recommend", "--user", "u1", "--debias", "1.2"], "debias must be from 0 to 1, not 1.2"),
        (["recommend", "--user", "u1", "--debias", "nan"], "debias must be from 0 to 1"),
        (["recommend", "--user", "u1", "-k", "few"], "(see 'llm4rec recommend --help')"),
        (["history", "--user", "u1", "-k", "0"], "'-k'"),
        (["recommend", "--user", "u1", "--where", "colour=red"], "It has: brand, categories, price"),
        (["recommend", "--user", "u1", "--where", "price"], "not a filter: 'price'"),
        (["recommend", "--user", "u1", "--where", "price>=dear"], "price is a number"),
        (["recommend"], "Missing option '--user'"),
        (["explain", "Zeppelin", "--user", "u1"], "Zeppelin"),
        (["search"], "nothing to search by"),
        (["search", "  "], "nothing to search by"),
        (["search", "--like", "Zeppelin"], "Zeppelin"),
        (["search", "lamp\udcff"], "not valid text"),
        (["search", "--image", "none.png"], "none.png"),
        (["items", "add", "none.jsonl"], "none.jsonl does not exist"),
        (["items", "remove", "p1", "nope"], "no item 'nope'"),
        (["items", "restore", "p1"], "is not removed"),
        (["chat", "--llm", "none.gguf"], "none.gguf"),
        (["chat", "--llm", "rules", "--user", " "], "need a name"),
        (["chat", "--llm", "rules", "--debias", "-1"], "debias must be from 0 to 1, not -1"),
        (["graph", "--format", "svg"], "'svg' is not one of"),
        (["sing"], "No such command 'sing'"),
        (["build"], "--data FOLDER, or --demo"),
        (["build", "--write-mapping"], "--data"),
        (["build", "--demo", "--write-mapping"], "--data"),
        (["build", "--demo", "--data", "."], "exclude each other"),
        (["build", "--demo", "--seed", "-1"], "--seed"),
        (["build", "--demo", "--without", "magic"], "no part 'magic' to leave out: it has popularity, transitions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_requests(shop: Path, arguments: list[str], complaint: str) -> None:
    before = content(shop)
    place = [] if arguments[0] in ("graph", "sing") else ["-w", str(shop)]
    assert complaint in command(*arguments, *place).complaint
    assert content(shop) == before


def huge_png(path: Path, side: int = 30_000) -> Path:
    """A well-formed picture of 900 million black pixels in about 110 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_pictures(shop_built: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.png"
    words.write_text("no picture")
    assert "not an image" in command("search", "--image", words, "-w", shop_built).complaint
    huge = huge_png(tmp_path / "huge.png")
    assert "40 megapixels" in command("search", "--image", huge, "-w", shop_built).complaint
    source = tmp_path / "new.jsonl"
    source.write_text(json.dumps({"id": "k1", "title": "Kayak", "image": "huge.png"}))
    assert "new.jsonl:1: " in command("items", "add", source, "-w", shop_built).complaint


def test_a_bad_item_among_good_ones_adds_none(shop: Path, tmp_path: Path) -> None:
    source = tmp_path / "new.jsonl"
    good = {"id": "k1", "title": "Kayak"}
    for bad in (
        {"id": "k2"},
        {"id": "p1", "title": "Taken"},
        {"id": "k2", "title": "X", "attributes": {"price": "dear"}},
    ):
        source.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
        assert "new.jsonl:2: " in command("items", "add", source, "-w", shop).complaint
        assert "unknown" not in command("search", "kayak", "-k", "50", "-w", shop).out
        assert "no item 'k1'" in command("items", "remove", "k1", "-w", shop).complaint
    source.write_text("\n")
    assert "holds no items" in command("items", "add", source, "-w", shop).complaint


def test_models_that_are_none(shop_built: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.gguf"
    words.write_text("no model " * 100)
    assert "words.gguf" in command("chat", "--llm", words, "-w", shop_built).complaint
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 100, 100))
    assert "cut.gguf" in command("chat", "--llm", cut, "-w", shop_built).complaint
    sick = command("doctor", "--llm", words, "-w", shop_built)
    assert sick.code == 1
    assert "words.gguf" in sick.out


@pytest.mark.parametrize("view", ["text", "image"])
def test_another_encoder(shop: Path, shop_built: Path, view: str) -> None:
    build = (shop / "current").resolve()
    model = json.loads((build / "manifest.json").read_text())["views"][view]["model"]
    for path in (build / "manifest.json", build / "views" / view / "manifest.json"):
        path.write_text(path.read_text().replace(model, "another@1234"))
    poster = next((shop_built / "current" / "images").glob("*.jpg"))
    complaint = command("search", "lamp", "--image", poster, "-w", shop).complaint
    assert "another@1234" in complaint
    assert "Build the workspace again" in complaint
    sick = command("doctor", "--llm", "rules", "-w", shop)
    assert sick.code == 1
    assert "another@1234" in sick.out


def test_workspaces_that_are_none(tmp_path: Path, data: Path) -> None:
    missing, file, empty = tmp_path / "missing", tmp_path / "file", tmp_path / "empty"
    file.write_text("")
    empty.mkdir()
    for name in ("recommend", "history"):
        assert "no workspace at" in command(name, "--user", "u1", "-w", missing).complaint
        assert "is a file" in command(name, "--user", "u1", "-w", file).complaint
        assert "no finished build" in command(name, "--user", "u1", "-w", empty).complaint
    assert "no workspace at" in command("bias", "-w", missing).complaint
    assert "is a file" in command("build", "--data", data, "-w", file).complaint
    assert not missing.exists()
    assert not list(empty.iterdir())


def test_a_missing_mapping_leaves_nothing(tmp_path: Path, data: Path) -> None:
    workspace = tmp_path / "new"
    complaint = command("build", "--data", data, "--mapping", tmp_path / "none.toml", "-w", workspace).complaint
    assert "none.toml" in complaint
    assert not workspace.exists()


def test_another_build_is_running(shop: Path, data: Path) -> None:
    (shop / "staging").mkdir(exist_ok=True)
    with (shop / "staging" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another build is running" in command("build", "--data", data, "-w", shop).complaint


@pytest.mark.parametrize(
    "name", ["items.parquet", "manifest.json", "causal.json", "views/text/vectors.npy", "models/graph.safetensors"]
)
@pytest.mark.parametrize("spoil", ["gone", "cut"])
def test_a_damaged_build(shop: Path, name: str, spoil: str) -> None:
    path = shop / "current" / name
    whole = path.read_bytes()
    path.unlink()
    if spoil == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    assert "build" in command("recommend", "--user", "u1", "-w", shop).complaint.lower()


@pytest.mark.parametrize("name", ["users.parquet", "interactions.parquet", "offsets.npy", "interactions.json"])
@pytest.mark.parametrize("spoil", ["gone", "cut", "of another build"])
def test_a_damaged_log(shop: Path, name: str, spoil: str) -> None:
    path = shop / "current" / name
    whole = path.read_bytes()
    path.unlink()
    if spoil == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    if spoil == "of another build":
        if path.suffix == ".parquet":
            pl.read_parquet(io.BytesIO(whole)).head(3).write_parquet(path)
        elif path.suffix == ".npy":
            np.save(path, np.zeros(4, dtype=np.int64))
        else:
            path.write_text(whole.decode().replace('"users": 40', '"users": 41'))
    complaint = command("recommend", "--user", "u1", "-w", shop).complaint
    assert "build the workspace again" in complaint
    assert str((shop / "current").resolve().name) in complaint


def test_damaged_conversations(shop: Path) -> None:
    threads = shop / "state" / "threads.sqlite"
    threads.parent.mkdir(exist_ok=True)
    threads.write_bytes(b"not a database, whatever its name says" * 100)
    assert f"{threads} is damaged" in command("recommend", "--user", "u1", "-w", shop).complaint
    assert threads.read_bytes().startswith(b"not a database")


def test_a_chroma_server_that_does_not_answer(data: Path, tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", "ftp://127.0.0.1"):
        complaint = command("build", "--data", data, "--chroma", url, "-w", tmp_path / "new").complaint
        assert url in complaint
        assert "server" in complaint


def test_a_real_process_exits_with_2(shop_built: Path, tmp_path: Path) -> None:
    child = process("recommend", "--user", "nobody", "-w", shop_built, cwd=tmp_path)
    out, err = child.communicate()
    assert (child.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("llm4rec: unknown user 'nobody'")
