"""The ranker survives the disk, and damage is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.ranking import fused
from llm4rec.ranking.ease import EaseConfig, fit_ease_model
from llm4rec.ranking.fused import FusedConfig, fit_fused, held_out
from llm4rec.ranking.fused_limits import Limits
from llm4rec.ranking.fused_ranker import RankerConfig
from llm4rec.ranking.graph import GraphConfig, fit_graph
from llm4rec.ranking.history import from_log
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.models import ItemView, fit, load, read_metadata, read_models
from llm4rec.ranking.outcome import OutcomeSlope
from llm4rec.ranking.sequence import SequenceConfig, fit_sequence
from llm4rec.ranking.transitions import TransitionsConfig, fit_transitions

ITEMS = 12
LOG = Log.of_lists([np.random.default_rng(user).choice(ITEMS - 1, 7, replace=False) for user in range(30)], ITEMS)
CATALOGUE = Catalogue.of(
    [Item(id=f"i{row}", title=f"item {row}", attributes={"kind": f"kind {row % 3}"}) for row in range(ITEMS)]
)
VIEWS = {"text": np.eye(ITEMS, dtype=np.float32)}
LIVE = {"text": ItemView(VIEWS["text"])}
CONFIG = FusedConfig(limits=Limits(least=10))
FILES = [f"{name}.safetensors" for name in ("popularity", "ease", "transitions", "graph", "sequence", "posterior")]


def small(patch: pytest.MonkeyPatch, most: int) -> None:
    """Parts of next to no size, in their dense or truncated forms."""
    sequence = SequenceConfig(width=8, heads=1, layers=1, length=8, epochs=2)
    for name, make in {
        "ease": lambda i: fit_ease_model(i.log, EaseConfig(dense_limit=most, rank=4)),
        "transitions": lambda i: fit_transitions(i.log, TransitionsConfig(dense_limit=most, rank=4)),
        "graph": lambda i: fit_graph(i.log, i.catalogue, GraphConfig(dense_limit=most)),
        "sequence": lambda i: fit_sequence(i.log, sequence, seed=i.seed),
    }.items():
        patch.setitem(fused.PARTS, name, make)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[100, 0], ids=["dense", "truncated"])
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("fitted") / "models"
    with pytest.MonkeyPatch.context() as patch:
        small(patch, request.param)
        fit(LOG, folder, catalogue=CATALOGUE, views=VIEWS, config=CONFIG, seed=3)
    return folder, request.param


@pytest.fixture
def folder(fitted: tuple[Path, int], tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(fitted[0], tmp_path / "models"))


def test_what_is_loaded_ranks_as_what_was_fitted(fitted: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, fitted[1])
    model = fit_fused(LOG, CATALOGUE, VIEWS, CONFIG, seed=3)
    ranker = load(fitted[0], views=LIVE, ids=CATALOGUE.ids)
    assert tuple(ranker.rankers) == ("popularity", "transitions", "ease", "graph", "sequence", "text", "posterior")
    for rows in ([], [0], [0, 4, 2, 9]):
        history = from_log(rows, [1] * len(rows), None)
        expected = model.score_many(Pasts.of([history], ITEMS))[0]
        np.testing.assert_allclose(ranker.scores(history), expected, rtol=1e-3, atol=1e-3)
    assert ranker.counts.tolist() == LOG.counts.tolist()
    assert load(fitted[0], n_items=15, views=LIVE).scores(from_log([0], [1], None)).shape == (15,)


def test_metadata_says_how_it_was_made(fitted: tuple[Path, int]) -> None:
    metadata = read_metadata(fitted[0])
    assert (metadata.n_users, metadata.n_items, metadata.interactions) == (30, ITEMS, 210)
    assert metadata.parts == ("popularity", "transitions", "ease", "graph", "sequence", "text", "posterior")
    assert metadata.left_out == {"image": "the items have no image view"}
    assert metadata.notes() == ("the ranker has no image part: the items have no image view",)
    assert (metadata.learned_on, metadata.epochs, metadata.seed) == (30, 2, 3)
    assert metadata.ease is not None
    assert (metadata.ease.form, metadata.ease.tau) == ({100: "dense", 0: "truncated"}[fitted[1]], 10)
    assert metadata.ranker == RankerConfig()
    assert set(metadata.sha256) == set(FILES)


def test_what_a_score_is_worth_is_kept_where_the_log_has_ratings(tmp_path: Path) -> None:
    """Popular items are rated higher, and popularity is all that the ranker knows."""
    rng = np.random.default_rng(0)
    odds = np.linspace(2, 0.3, 40) / np.linspace(2, 0.3, 40).sum()
    plain = Log.of_lists([rng.choice(40, 15, replace=False, p=odds) for _ in range(200)], 40)
    values = (3 + 40 * (odds[plain.items] - odds.mean()) + rng.normal(0, 0.2, len(plain))).astype(np.float32)
    rated = replace(plain, values=values, scale=(1.0, 5.0))
    config = FusedConfig(parts=("popularity",), limits=Limits(least=10), hidden=0.0, short=0.0)
    for name, log in (("plain", plain), ("rated", rated), ("shorter", rated.keep(held_out(plain, 4)))):
        fit(log, tmp_path / name, config=config)
    assert read_metadata(tmp_path / "plain").outcome_slope is None
    assert read_metadata(tmp_path / "shorter").outcome_slope is None  # of three events one is held out: no user has two
    found = read_metadata(tmp_path / "rated").outcome_slope
    assert found is not None
    assert found.interval[0] > 0
    assert (found.n, found.n_users) == (600, 200)
    assert load(tmp_path / "rated").weights.outcome == OutcomeSlope(**found.model_dump())


def test_no_file_is_a_pickle(fitted: tuple[Path, int]) -> None:
    assert {path.name for path in fitted[0].iterdir()} == {*FILES, "ranking.json"}


def test_parts_may_be_left_out_and_a_tiny_log_has_fixed_weights(tmp_path: Path) -> None:
    found = fit(LOG, tmp_path, catalogue=CATALOGUE, views=VIEWS, without=("graph", "popularity"))
    assert found["parts"] == ("transitions", "ease", "text", "posterior")
    metadata = read_metadata(tmp_path)
    assert metadata.left_out["graph"] == "it was left out of this build"
    assert metadata.left_out["sequence"] == "30 events to learn from, the least is 500"
    assert metadata.notes()[-1] == "the ranker's weights are fixed ones: the log is too small to learn them from"
    ranker = load(tmp_path, views=LIVE)
    assert ranker.counts.tolist() == LOG.counts.tolist()
    assert not ranker.parts(from_log([0], [1], None))["popularity"].any()
    with pytest.raises(UserError, match="no part of the ranker is left"):
        fit(LOG, tmp_path, without=CONFIG.parts)
    with pytest.raises(ValueError, match="'als' cannot be kept"):
        fit(LOG, tmp_path, config=FusedConfig(parts=("als",)))


@pytest.mark.parametrize("name", FILES)
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
        load(folder, views=LIVE)
    assert "build" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 3}', None])
def test_damaged_metadata_is_named(folder: Path, content: str | None) -> None:
    path = folder / "ranking.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=r"ranking\.json"):
        load(folder, views=LIVE)


def test_metadata_of_another_build_or_version_is_refused(folder: Path) -> None:
    path = folder / "ranking.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"n_items": 8}))
    with pytest.raises(UserError, match="does not fit"):
        load(folder, views=LIVE)
    path.write_text(json.dumps(metadata | {"parts": metadata["parts"][:-1]}))
    with pytest.raises(UserError, match="does not fit"):
        load(folder, views=LIVE)
    path.write_text(json.dumps(metadata | {"parts": [*metadata["parts"][:-1], "magic"]}))
    with pytest.raises(UserError, match="'magic'"):
        load(folder, views=LIVE)
    path.write_text(json.dumps(metadata | {"version": 99}))
    with pytest.raises(UserError, match="version 99"):
        load(folder, views=LIVE)
    for old in ({"version": 1, "blend": {}}, metadata | {"version": 2}):
        path.write_text(json.dumps(old))
        with pytest.raises(UserError, match="of an older llm4rec: build the workspace again"):
            load(folder, views=LIVE)
    path.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="the catalogue has 5"):
        load(folder, n_items=5, views=LIVE)
    with pytest.raises(UserError, match="needs the text view"):
        load(folder)
    with pytest.raises(UserError, match="the catalogue has 3"):
        read_models(folder, ids=["a", "b", "c"])
