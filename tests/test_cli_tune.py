"""``llm4rec tune``, from the corpus to an adapter that a conversation uses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny_llama
from llm4rec.agent.llm import ChatLlamaCpp
from llm4rec.cli import run


def test_examples_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", "--out", "x.gguf", "--examples", "200", "--show", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3
    assert all(line["answer"] and line["system"] for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--out", "adapter.bin"], "an adapter is a *.gguf file"),
        (["--out", "a.gguf", "--llm", "http://127.0.0.1:1/v1"], "a model on a server cannot be tuned"),
        (["--out", "a.gguf", "--llm", "nowhere.gguf"], "nowhere.gguf"),
        (["--out", "a.gguf", "--catalogue", "nowhere"], "nowhere"),
        (["--out", "a.gguf", "--from", "nowhere.gguf"], "nowhere.gguf"),
    ],
)
def test_what_cannot_be_tuned(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", *options]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["gguf", "peft", "transformers"])
def test_missing_packages_are_told_of_at_once(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny_llama.write(tmp_path / "tiny.gguf")  # by gguf, so it comes first
    monkeypatch.setitem(sys.modules, missing, None)
    assert run(["tune", "--llm", str(base), "--out", str(tmp_path / "a.gguf")]) == 2
    assert "llm4rec[tune]" in capsys.readouterr().err
    assert not (tmp_path / "a.work").exists()


def test_where_nothing_can_be_written_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("peft", reason="needs the extra llm4rec[tune]")
    base = tiny_llama.write(tmp_path / "tiny.gguf")
    (tmp_path / "folder.gguf").mkdir()
    for options, told in (
        (["--out", str(base / "a.gguf")], "cannot be written"),
        (["--out", str(tmp_path / "a.gguf"), "--work", str(base / "work")], "cannot be written"),
        (["--out", str(tmp_path / "folder.gguf")], "is a folder"),
    ):
        assert run(["tune", "--llm", str(base), *options]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_an_adapter_for_any_llama(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tiny model of another vocabulary and another template, trained for a step or two: its answers change."""
    pytest.importorskip("peft", reason="needs the extra llm4rec[tune]")
    base = tiny_llama.write(tmp_path / "tiny.gguf", precise=True)
    out = tmp_path / "adapter.gguf"
    options = ["--examples", "120", "--passes", "0.4", "--rate", "0.02", "--json"]
    assert run(["tune", "--llm", str(base), "--out", str(out), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "llm4rec.tuned/1"
    assert found["adapter"] == str(out)
    assert found["examples"] == pytest.approx(120, abs=15)
    assert not (tmp_path / "adapter.work").exists()
    tool = {"name": "recommend", "description": "", "parameters": {"type": "object", "properties": {}}}
    told = []
    for adapter in (None, out):
        model = ChatLlamaCpp(model=str(base), adapter=adapter, describe_tools=False, cache_folder=tmp_path / "cache")
        try:
            assert model.bind_tools([tool], tool_choice="any").invoke("hello").tool_calls[0]["name"] == "recommend"
            told.append(model.invoke("recommend me something", max_tokens=20).content)
        finally:
            model.close()
    assert told[0] != told[1]
    again = tmp_path / "again.gguf"
    assert run(["tune", "--llm", str(base), "--out", str(again), "--from", str(out), *options]) == 0
    assert "begun from adapter.gguf (LoRA of rank 16" in json.loads(capsys.readouterr().out)["recipe"]
    assert again.read_bytes() != out.read_bytes()
