"""Taking a user out of a log and of a graph: what is left, kills at any step, readers meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog import durable, interactions
from llm4rec.catalog.dropping import drop_user, holds
from llm4rec.catalog.interactions import Interactions, load_interactions, write_interactions
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.readers import INTERACTIONS, RawData
from llm4rec.errors import UserError
from llm4rec.ranking import models as ranking_models
from llm4rec.ranking.fused import FusedConfig
from llm4rec.ranking.fused_limits import Limits
from llm4rec.ranking.graph import USERS, GraphConfig, fit_graph
from llm4rec.ranking.graph_ranker import load_graph
from llm4rec.ranking.graph_users import drop_from_models, with_users
from llm4rec.ranking.history import from_log
from llm4rec.ranking.log import Log
from llm4rec.ranking.models import fit, part_file, read_metadata, read_models

ITEMS = tuple(f"i{n}" for n in range(8))
CATALOGUE = Catalogue.of([Item(i, f"Title {i}", attributes={"kind": f"kind {n % 3}"}) for n, i in enumerate(ITEMS)])
Row = tuple[str, str, float | None, int | None, int]


class Cut(BaseException):
    """A kill: nothing may clean up after it."""


# The log.


def log_of(folder: Path, rows: list[Row], users: pl.DataFrame | None = None) -> Interactions:
    frame = pl.DataFrame(rows, schema=dict(INTERACTIONS), orient="row")
    known = pl.DataFrame(schema={"user": pl.String}) if users is None else users
    folder.mkdir(parents=True, exist_ok=True)
    return write_interactions(RawData("t", "test", CATALOGUE, frame.lazy(), known), folder, CATALOGUE)


def told(log: Interactions) -> dict[str, Any]:
    """All that a log says, by user."""
    return {
        "users": log.users.rows(),
        "rows": log.frame().rows(),
        "offsets": log.offsets.tolist(),
        "of": {u: [column.tolist() for column in (r.items, r.times)] for u in log.user_ids for r in [log.of_user(u)]},
        "counts": (log.n_users, len(log), log.sizes.ratings, log.sizes.timed),
    }


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bob", "cem", "dot"]),
        st.sampled_from(ITEMS),
        st.none() | st.sampled_from([1.0, 3.0, 5.0]),
        st.none() | st.integers(0, 3),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(rows=ROWS, data=st.data())
def test_a_log_without_a_user_is_the_log_that_never_had_them(
    tmp_path: Path, rows: list[Row], data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path / "log", ignore_errors=True)
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    log = log_of(tmp_path / "log", rows)
    gone = data.draw(st.lists(st.sampled_from(log.user_ids), min_size=1, max_size=3, unique=True))
    for user in gone:
        before = load_interactions(tmp_path / "log")
        own = len(before.of_user(user))
        assert drop_user(tmp_path / "log", user) == own
        assert len(before.of_user(user)) == 0, "who has the log open follows"
    left = load_interactions(tmp_path / "log")
    kept = [row for row in rows if row[0] not in gone]
    if kept:
        assert told(left) == told(log_of(tmp_path / "other", kept))
    else:
        assert (left.n_users, len(left), left.frame().height) == (0, 0, 0)
    assert left.scale == log.scale, "the rating scale is the data set's"
    assert len(names_in(tmp_path / "log")) == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(rows=ROWS, data=st.data())
def test_a_log_without_an_interaction_keeps_all_else(tmp_path: Path, rows: list[Row], data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "log", ignore_errors=True)
    log = log_of(tmp_path / "log", rows)
    before = told(log)
    user = data.draw(st.sampled_from(log.user_ids))
    item = int(data.draw(st.sampled_from(log.of_user(user).items.tolist())))
    assert holds(load_interactions(tmp_path / "log"), user, item=item)
    assert drop_user(tmp_path / "log", user, item=item) == 1
    assert drop_user(tmp_path / "log", user, item=item) == 0
    left = load_interactions(tmp_path / "log")
    after = told(left)
    assert after["users"] == before["users"]
    for one, columns in before["of"].items():
        keep = [at for at, row in enumerate(columns[0]) if (one, row) != (user, item)]
        assert after["of"][one] == [[column[at] for at in keep] for column in columns]
    expected = [place for one in left.user_ids for place in range(len(left.of_user(one)))]
    assert left.frame()["order"].to_list() == expected


def small_log(folder: Path) -> Interactions:
    rows: list[Row] = [
        (f"u{n:02}", ITEMS[(n + step) % 8], 3.0, step, 0) for n in range(12) for step in range(3 + n % 3)
    ]
    users = pl.DataFrame({"user": ["u99"], "town": ["nowhere"]})
    return log_of(folder, rows, users)


def test_a_user_without_interactions_goes_from_the_ids(tmp_path: Path) -> None:
    small_log(tmp_path)
    assert drop_user(tmp_path, "u99") == 0
    assert "u99" not in load_interactions(tmp_path)
    assert drop_user(tmp_path, "nobody") == 0


def cut_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """Kill at the so-manyeth step that touches the disk."""
    count = iter(range(1_000))
    real: dict[str, Callable[..., Any]] = {
        "sync": durable.sync,
        "replace": Path.replace,
        "unlink": Path.unlink,
        "sink": pl.LazyFrame.sink_parquet,
        "write": pl.DataFrame.write_parquet,
    }

    def counted(name: str) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if next(count) == number:
                raise Cut(name)
            return real[name](*given, **named)

        return step

    patch.setattr(durable, "sync", counted("sync"))
    patch.setattr(Path, "replace", counted("replace"))
    patch.setattr(Path, "unlink", counted("unlink"))
    patch.setattr(pl.LazyFrame, "sink_parquet", counted("sink"))
    patch.setattr(pl.DataFrame, "write_parquet", counted("write"))


def test_a_kill_at_any_step_leaves_the_old_log_or_the_new_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    old = told(small_log(whole))
    shutil.copytree(whole, tmp_path / "new")
    drop_user(tmp_path / "new", "u05")
    new = told(load_interactions(tmp_path / "new"))
    seen = []
    for number in range(100):
        folder = tmp_path / f"cut-{number}"
        shutil.copytree(whole, folder)
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, number)
            try:
                drop_user(folder, "u05")
                break
            except Cut:
                pass
        found = told(load_interactions(folder))
        assert found in (old, new)
        seen.append(found == new)
        drop_user(folder, "u05")
        assert told(load_interactions(folder)) == new
        assert len(names_in(folder)) == 4, "nothing is left of what was cut off"
    assert len(seen) > 8
    assert seen == sorted(seen), "once it is forgotten it stays forgotten"
    assert {False, True} == set(seen)


#: A process that a timer kills while it takes a user out of a log; nothing runs after such a signal.
KILLED = """
import signal, sys
from pathlib import Path
from llm4rec.catalog.dropping import drop_user
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
drop_user(Path(sys.argv[1]), "u05")
"""


@pytest.mark.parametrize("seconds", [0.001, 0.005, 0.02])
def test_a_process_killed_in_between_leaves_a_whole_log(tmp_path: Path, seconds: float) -> None:
    small_log(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(seconds)], capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGALRM), done.stderr
    log = load_interactions(tmp_path)
    assert log.n_users in (12, 13)
    assert log.frame().height == len(log)
    drop_user(tmp_path, "u05")
    assert "u05" not in load_interactions(tmp_path)
    assert len(names_in(tmp_path)) == 4


@pytest.mark.parametrize("long", [False, True], ids=["whole", "user by user"])
def test_readers_meanwhile_see_every_user_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    if long:
        monkeypatch.setattr(interactions, "WHOLE_ROWS", 0)
        monkeypatch.setattr(interactions, "WHOLE_AFTER", 10_000)
    expected = told(small_log(tmp_path))["of"]
    stop = threading.Event()

    def read() -> int:
        log, looks = load_interactions(tmp_path), 0
        while not stop.is_set() or looks == 0:
            for user in ("u03", "u07", "u11"):
                rows = log.of_user(user)
                assert [rows.items.tolist(), rows.times.tolist()] == expected[user]
            if looks % 3 == 0:
                log = load_interactions(tmp_path)
            looks += 1
        return looks

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for user in ("u00", "u01", "u02", "u04", "u05", "u06", "u08"):
            drop_user(tmp_path, user)
        stop.set()
        assert all(reader.result() for reader in readers)


def test_a_log_that_was_open_is_read_as_it_was_or_says_what_happened(tmp_path: Path) -> None:
    loaded = small_log(tmp_path)
    before = told(loaded)
    late = load_interactions(tmp_path)
    drop_user(tmp_path, "u05")
    assert (loaded.user_ids, loaded.offsets.tolist()) == (tuple(before["of"]), before["offsets"])
    assert len(loaded.of_user("u05")) == len(late.of_user("u05")) == 0
    assert late.of_user("u06").items.tolist() == before["of"]["u06"][0]
    for ask in (late.frame, lambda: late.user_ids, lambda: late.offsets):
        with pytest.raises(UserError, match="written anew meanwhile: do it again"):
            ask()
    assert late._later is not None
    drop_user(tmp_path, "u06")
    assert len(late.of_user("u06")) == 0


def test_a_log_that_does_not_fit_its_sizes_is_left_as_it_is(tmp_path: Path) -> None:
    small_log(tmp_path)
    path = tmp_path / "interactions.parquet"
    frame = pl.read_parquet(path)
    path.unlink()
    frame.head(20).write_parquet(path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"damaged|written anew"):
        drop_user(tmp_path, "u05")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# The graph.


@settings(max_examples=40, deadline=None)
@given(
    lists=st.lists(st.lists(st.integers(0, 7), unique=True, max_size=6), min_size=2, max_size=8),
    labels=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    dense=st.booleans(),
    data=st.data(),
)
def test_a_graph_without_a_user_is_that_of_the_log_without_them(
    lists: list[list[int]], labels: list[int], dense: bool, data: st.DataObject
) -> None:
    items = [
        Item(f"i{n}", f"t{n}", attributes={"kind": f"k{label}"} if label else {}) for n, label in enumerate(labels)
    ]
    catalogue = Catalogue.of(items)
    config = GraphConfig(attributes=0.3, dense_limit=100 if dense else 0)
    graph = fit_graph(Log.of_lists(lists, 8), catalogue, config)
    gone = data.draw(st.integers(0, len(lists) - 1))
    left = Log.of_lists([one for user, one in enumerate(lists) if user != gone], 8)
    expected, found = fit_graph(left, catalogue, config), with_users(graph, left.matrix())
    np.testing.assert_allclose(found.steps.toarray(), expected.steps.toarray(), atol=1e-6)
    assert found.sizes.tolist() == expected.sizes.tolist()
    assert found.relation_of.tolist() == expected.relation_of.tolist()
    assert found.labels == expected.labels
    assert found.steps.has_sorted_indices
    kept = np.setdiff1d(np.arange(8), np.array(lists[gone], dtype=np.int64))
    users = graph.relation_of == graph.relations.index(USERS)
    own, same = graph.steps.toarray()[:, users], found.steps.toarray()[:, : len(lists) - 1]
    assert np.array_equal(np.delete(own, gone, axis=1)[kept], same[kept]), "other items' rows are the same to the bit"
    with pytest.raises(ValueError, match="the graph has not"):
        with_users(graph, Log.of_lists([*lists, list(range(8))], 8).matrix())


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, Path]:
    """A log and models with a graph: folder of the build, folder of the models."""
    log = small_log(tmp_path / "build")
    config = FusedConfig(parts=("popularity", "ease", "graph"), limits=Limits(least=10_000))
    fit(Log.of(log), tmp_path / "build" / "models", catalogue=CATALOGUE, config=config)
    return tmp_path / "build", tmp_path / "build" / "models"


def people(models: Path) -> int:
    graph = load_graph(part_file(models, "graph", read_metadata(models).sha256))
    return int((graph.relation_of == graph.relations.index(USERS)).sum())


def test_models_follow_the_log_and_open_again(built: tuple[Path, Path]) -> None:
    folder, models = built
    past = from_log([0, 3], [3.0, 3.0], None)
    before = read_models(models).ranker().scores(past)
    assert not drop_from_models(models, load_interactions(folder))
    assert people(models) == 13
    drop_user(folder, "u05")
    assert drop_from_models(models, load_interactions(folder))
    assert not drop_from_models(models, load_interactions(folder)), "once is enough"
    assert people(models) == 12
    assert names_in(models) == {"popularity.safetensors", "ease.safetensors", "graph-1.safetensors", "ranking.json"}
    assert np.array_equal(read_models(models).ranker().scores(past), before), "sums over users are as they were"
    drop_user(folder, "u06", item=int(load_interactions(folder).of_user("u06").items[0]))
    assert drop_from_models(models, load_interactions(folder))
    assert (models / "graph-2.safetensors").exists()
    assert not (models / "graph-1.safetensors").exists()


def test_models_without_a_graph_have_nothing_of_single_users(tmp_path: Path) -> None:
    log = small_log(tmp_path)
    config = FusedConfig(parts=("popularity", "ease"), limits=Limits(least=10_000))
    fit(Log.of(log), tmp_path / "models", catalogue=CATALOGUE, config=config)
    drop_user(tmp_path, "u05")
    assert not drop_from_models(tmp_path / "models", load_interactions(tmp_path))


def test_a_kill_at_any_step_leaves_models_that_open(built: tuple[Path, Path], tmp_path: Path) -> None:
    folder, models = built
    drop_user(folder, "u05")
    found = []
    for number in range(30):
        here = tmp_path / f"cut-{number}"
        shutil.copytree(models, here)
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, number)
            try:
                drop_from_models(here, load_interactions(folder))
                break
            except Cut:
                pass
        read_models(here)
        found.append(people(here))
        drop_from_models(here, load_interactions(folder))
        assert people(here) == 12
        assert len(names_in(here)) == 4
    assert set(found) == {12, 13}


def test_who_opens_models_just_then_gets_the_new_ones(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, models = built
    read, first = ranking_models._read, [True]

    def late(*given: Any) -> Any:
        if first.pop() if first else False:
            drop_user(folder, "u05")
            drop_from_models(models, load_interactions(folder))
        return read(*given)

    monkeypatch.setattr(ranking_models, "_read", late)
    assert read_models(models).metadata.sha256["graph-1.safetensors"]
    (models / "graph-1.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="graph-1"):
        read_models(models)
