"""Models survive the disk, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from llm4rec.errors import UserError
from llm4rec.ranking.blend import BlendConfig
from llm4rec.ranking.history import from_log
from llm4rec.ranking.models import FitConfig, ItemView, fit, load, read_metadata


@pytest.fixture(params=[100, 0], ids=["dense", "truncated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    matrix = sp.csr_matrix((np.random.default_rng(0).random((30, 9)) < 0.4).astype(np.float32))
    fit(matrix, tmp_path / "models", config=FitConfig(dense_limit=request.param, rank=4))
    return tmp_path / "models"


def test_what_is_loaded_ranks_as_what_was_fitted(folder: Path) -> None:
    vectors = np.eye(9, dtype=np.float32)
    blend = load(folder, n_items=10, views={"text": ItemView(vectors)})
    history = from_log([0, 4], [1, 1], None)
    again = load(folder, n_items=10, views={"text": ItemView(vectors)})
    np.testing.assert_array_equal(blend.scores(history), again.scores(history))
    assert blend.scores(history).shape == (10,)
    assert blend.behaviour is not None
    assert blend.behaviour.scores(history).any()


def test_metadata_says_how_it_was_made(folder: Path) -> None:
    metadata = read_metadata(folder)
    assert (metadata.n_users, metadata.n_items) == (30, 9)
    assert (metadata.ease.form, metadata.ease.rank) in {("dense", None), ("truncated", 4)}
    assert metadata.ease.regularization == 400
    assert metadata.blend == BlendConfig()
    assert set(metadata.sha256) == {"ease.safetensors", "popularity.safetensors"}


def test_no_file_is_a_pickle(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", ["ease.safetensors", "popularity.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_model_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    match damage:
        case "flip":
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:-5])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    with pytest.raises(UserError, match=name) as caught:
        load(folder)
    assert "build" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', None])
def test_damaged_metadata_is_named(folder: Path, content: str | None) -> None:
    path = folder / "ranking.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=r"ranking\.json"):
        load(folder)


def test_metadata_of_another_build_or_version_is_refused(folder: Path) -> None:
    path = folder / "ranking.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"n_items": 8}))
    with pytest.raises(UserError, match="does not fit"):
        load(folder)
    path.write_text(json.dumps(metadata | {"version": 99}))
    with pytest.raises(UserError, match="version 99"):
        load(folder)
    path.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="the catalogue has 5"):
        load(folder, n_items=5)
