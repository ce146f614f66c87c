"""The generator of long logs writes what the reader reads, and the same every time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from llm4rec.catalog.interactions import write_interactions
from llm4rec.catalog.readers import read


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "generate_log.py"
    spec = importlib.util.spec_from_file_location("generate_log", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_generated_log_is_read_whole(generator: ModuleType, tmp_path: Path) -> None:
    written = generator.generate(tmp_path / "data", 20_000, 300, 10_000, seed=1)
    assert 19_500 < written <= 20_200
    raw = read(tmp_path / "data")
    assert raw.kind == "movielens-csv"
    assert not raw.problems.counts
    build = tmp_path / "build"
    log = write_interactions(raw, build, raw.catalogue)
    assert len(log) == written  # no user rates an item twice
    assert not raw.problems.settled
    assert (log.n_users, log.n_items, log.scale) == (300, 10_000, (0.5, 5.0))
    frame = log.frame()
    assert frame.select((pl.col("time").diff().over("user") >= 0).all()).item()
    counts = np.sort(np.bincount(frame["item"].to_numpy(), minlength=10_000))[::-1]
    assert counts[:200].sum() > 0.2 * written  # a head, as in real logs


def test_the_same_arguments_give_the_same_bytes(generator: ModuleType, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generator.generate(tmp_path / name, 3_000, 50, 200, seed=seed)
    same = [(tmp_path / name / "ratings.csv").read_bytes() for name in "abc"]
    assert same[0] == same[1]
    assert same[0] != same[2]
