"""A data folder's fingerprint changes when, and only when, what is read from it may."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from llm4rec.catalog.readers import fingerprint
from llm4rec.catalog.readers.fingerprint import CONTENT_LIMIT
from llm4rec.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "items.csv").write_text("id,title\n1,A\n")
    (root / "log.csv").write_bytes(b"x" * (CONTENT_LIMIT + 1))
    (root / "images" / "1.jpg").write_bytes(b"picture")
    return root


def test_a_small_table_counts_by_content_alone(data: Path) -> None:
    before = fingerprint(data)
    os.utime(data / "items.csv", (1, 1))
    assert fingerprint(data) == before
    (data / "items.csv").write_text("id,title\n1,B\n")  # the same size
    assert fingerprint(data) != before


@pytest.mark.parametrize("name", ["log.csv", "images/1.jpg"])
def test_large_files_and_pictures_count_by_time(data: Path, name: str) -> None:
    before = fingerprint(data)
    os.utime(data / name, (1, 1))
    assert fingerprint(data) != before


def test_a_new_a_renamed_and_a_removed_file_count(data: Path) -> None:
    seen = {fingerprint(data)}
    (data / "images" / "2.jpg").write_bytes(b"picture")
    seen.add(fingerprint(data))
    (data / "images" / "2.jpg").rename(data / "images" / "3.jpg")
    seen.add(fingerprint(data))
    (data / "images" / "1.jpg").unlink()
    seen.add(fingerprint(data))
    assert len(seen) == 4


def test_a_copy_that_keeps_times_is_the_same(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == fingerprint(data)


def test_the_mapping_counts(data: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text("a = 1")
    first = fingerprint(data, mapping)
    assert first != fingerprint(data)
    mapping.write_text("a = 2")
    assert fingerprint(data, mapping) != first
    with pytest.raises(UserError, match="cannot be read"):
        fingerprint(data, tmp_path / "none.toml")
    with pytest.raises(UserError, match="does not exist"):
        fingerprint(tmp_path / "none")


def test_links_are_not_followed_out(data: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (data / "loop").symlink_to(data)
    (data / "far").symlink_to(tmp_path / "far")
    before = fingerprint(data)
    (data / "far").unlink()
    (data / "far").symlink_to(tmp_path)
    assert fingerprint(data) != before
