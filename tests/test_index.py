"""Views: what is nearest is what exact arithmetic says, whatever the mask; damage and mismatch are told plainly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chroma_server import running_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from llm4rec.catalog import index as module
from llm4rec.catalog.index import Plan, ViewIndex, build_view, open_view
from llm4rec.errors import ToolError, UserError
from numpy.typing import NDArray

N, D = 240, 12
GRAPH = Plan(graph_call=-1e9)  # asked whenever there is something to ask for
EXACT = Plan(graph_call=1e9)
SHORT = Plan(graph_call=-1e9, surplus=0.0, margin=0)  # fetches too few, so that the fallback has to work


def sample(n: int = N, d: int = D, seed: int = 0) -> NDArray[np.float32]:
    """Clustered vectors; every ninth is zero, and each tenth of the others repeats its forerunner."""
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(6, d))[rng.integers(6, size=n)] + 0.6 * rng.normal(size=(n, d))).astype(np.float32)
    vectors[5::10] = vectors[4::10][: len(vectors[5::10])]
    vectors[::9] = 0.0
    return vectors


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewIndex]:
    folder = tmp_path_factory.mktemp("views")
    build_view(folder, "text", sample(), "model-a")
    view = open_view(folder, "text", "model-a")
    yield view
    view.close()


def exact(
    vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Similarities of the k best, by the definition of the cosine."""
    found = []
    for row, vector in enumerate(vectors.astype(np.float64)):
        if vector.any() and (mask is None or mask[row]):
            q = query.astype(np.float64)
            found.append(vector @ q / np.sqrt((vector @ vector) * (q @ q)))
    return np.array(sorted(found, reverse=True)[:k])


queries = hnp.arrays(np.float32, D, elements=st.floats(-2, 2, width=16)).filter(lambda q: bool(np.abs(q).max() > 0.1))
masks = st.one_of(
    st.none(),
    hnp.arrays(np.bool_, N),
    st.sets(st.integers(0, N - 1), max_size=5).map(lambda rows: np.isin(np.arange(N), list(rows))),
    st.sets(st.integers(0, N - 1), max_size=5).map(lambda rows: ~np.isin(np.arange(N), list(rows))),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(queries, st.integers(1, 60), masks, st.sampled_from([GRAPH, EXACT, SHORT]))
def test_nearest_is_exact(
    view: ViewIndex, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None, plan: Plan
) -> None:
    rows, similarities = replace(view, plan=plan).nearest(query, k, mask)
    np.testing.assert_allclose(similarities, exact(sample(), query, k, mask), atol=1e-5)
    assert len(set(rows.tolist())) == len(rows)
    assert all(sample()[row].any() and (mask is None or mask[row]) for row in rows)
    # most similar first, equal ones by row
    assert [(-s, r) for s, r in zip(similarities, rows, strict=True)] == sorted(
        (-s, r) for s, r in zip(similarities, rows, strict=True)
    )


live = st.lists(st.integers(0, N + 7), max_size=12, unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(queries, st.integers(1, 40), live, st.integers(0, 10**6), st.booleans(), st.sampled_from([GRAPH, EXACT]))
def test_nearest_with_live_changes_is_exact(
    view: ViewIndex,
    query: NDArray[np.float32],
    k: int,
    rows: list[int],
    seed: int,
    masked: bool,
    plan: Plan,
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(rows), D)).astype(np.float32)
    vectors[::4] = 0.0
    mask = rng.random(N + 8) < 0.5 if masked else None
    expected = np.concatenate([sample(), np.zeros((8, D), dtype=np.float32)])
    expected[rows] = vectors
    changed = replace(view, plan=plan).overlaid(np.array(rows, dtype=np.int64), vectors, N + 8)
    found, similarities = changed.nearest(query, k, mask)
    np.testing.assert_allclose(similarities, exact(expected, query, k, mask), atol=1e-5)
    assert all(expected[row].any() and (mask is None or mask[row]) for row in found)
    assert len(changed) == N + 8
    for row in [*rows, 1, N]:
        vector = changed.vector(row)
        assert (vector is None) == (not expected[row].any())
        if vector is not None:
            np.testing.assert_allclose(vector, expected[row] / np.linalg.norm(expected[row]), atol=1e-6)
    assert len(view) == N  # the original is as it was


def test_the_cheaper_way_is_chosen() -> None:
    plan = Plan()
    assert not plan.graph_is_faster(fetched=100, passing=500, rows=1_000, dimension=384)
    assert not plan.graph_is_faster(fetched=160, passing=10_000, rows=100_000, dimension=384)
    assert plan.graph_is_faster(fetched=40, passing=50_000, rows=100_000, dimension=384)
    assert plan.graph_is_faster(fetched=40, passing=10_000, rows=20_000, dimension=4096)
    assert not plan.graph_is_faster(fetched=3_000, passing=50_000, rows=100_000, dimension=384)


def test_graph_and_exact_agree_with_the_scan(tmp_path: Path) -> None:
    # More rows than one chunk of the exact search, through each of its ways.
    vectors = sample(3000, 16, seed=3)
    build_view(tmp_path, "text", vectors, "m")
    view = open_view(tmp_path, "text")
    rng = np.random.default_rng(5)
    for share in (0.02, 0.3, 0.5, 1.0):
        mask = rng.random(3000) < share
        query = rng.normal(size=16).astype(np.float32)
        for plan in (EXACT, GRAPH):
            _, similarities = replace(view, plan=plan).nearest(query, 50, mask)
            np.testing.assert_allclose(similarities, exact(vectors, query, 50, mask), atol=1e-5)
    view.close()


def test_many_threads(view: ViewIndex) -> None:
    query = np.ones(D, dtype=np.float32)
    expected = view.nearest(query, 20)[0].tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: view.nearest(query, 20)[0].tolist(), range(64)))
    assert all(rows == expected for rows in found)


def test_vector_of_a_row(view: ViewIndex) -> None:
    assert view.vector(0) is None
    vector = view.vector(1)
    assert vector is not None
    np.testing.assert_allclose(np.linalg.norm(vector), 1.0, atol=1e-6)
    with pytest.raises(IndexError):
        view.vector(N)


@pytest.mark.parametrize(
    ("query", "k", "mask"),
    [
        (np.zeros(D), 3, None),
        (np.full(D, np.nan), 3, None),
        (np.ones(D + 1), 3, None),
        (np.ones(D), 0, None),
        (np.ones(D), 3, np.ones(N + 1, dtype=np.bool_)),
    ],
)
def test_nearest_refuses(view: ViewIndex, query: NDArray[np.float64], k: int, mask: NDArray[np.bool_] | None) -> None:
    with pytest.raises(ValueError, match=r"vector|k is|mask"):
        view.nearest(query.astype(np.float32), k, mask)


@pytest.mark.parametrize(
    "change",
    [
        (np.array([1, 1]), np.ones((2, D)), N),
        (np.array([N]), np.ones((1, D)), N),
        (np.array([1]), np.ones((1, D + 1)), N),
        (np.array([1]), np.ones((1, D)), N - 1),
    ],
)
def test_overlaid_refuses(view: ViewIndex, change: tuple[NDArray[np.int64], NDArray[np.float64], int]) -> None:
    rows, vectors, n_rows = change
    with pytest.raises(ValueError, match="live"):
        view.overlaid(rows, vectors.astype(np.float32), n_rows)


# -- building and opening ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 11])
def test_small_views(tmp_path: Path, n: int) -> None:
    vectors = np.eye(12, dtype=np.float32)[:n] * 7
    build_view(tmp_path, "text", vectors, "m")
    view = open_view(tmp_path, "text")
    rows, similarities = view.nearest(np.arange(12, 0, -1).astype(np.float32), 20)
    assert rows.tolist() == list(range(n))
    assert (np.diff(similarities) <= 0).all()
    view.close()


def test_a_view_that_no_item_has(tmp_path: Path) -> None:
    build_view(tmp_path, "image", np.zeros((4, 3), dtype=np.float32), "m")
    view = open_view(tmp_path, "image")
    assert view.nearest(np.ones(3, dtype=np.float32), 5)[0].tolist() == []
    changed = view.overlaid(np.array([2]), np.ones((1, 3), dtype=np.float32), 4)
    assert changed.nearest(np.ones(3, dtype=np.float32), 5)[0].tolist() == [2]
    view.close()


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    vectors = sample(12_000, 8)
    build_view(tmp_path, "text", vectors, "m", lambda done, total: told.append((done, total)))
    present = int(vectors.any(axis=1).sum())
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 1
    assert told[-1] == (present, present)


def test_a_view_survives_a_move_and_opens_in_another_process(tmp_path: Path) -> None:
    build_view(tmp_path / "staged", "text", sample(), "m")
    (tmp_path / "staged").rename(tmp_path / "published")
    view = open_view(tmp_path / "published", "text")
    query = np.ones(D, dtype=np.float32)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from llm4rec.catalog.index import open_view\n"
        f"print(open_view(pathlib.Path(sys.argv[1]), 'text').nearest(np.ones({D}, np.float32), 9)[0].tolist())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "published")], capture_output=True, text=True, check=True
    )
    assert json.loads(other.stdout) == view.nearest(query, 9)[0].tolist()
    view.close()


def test_built_again_only_when_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = module.create_collection
    monkeypatch.setattr(module, "create_collection", lambda *args: (made.append(args[1]), create(*args))[1])
    first = build_view(tmp_path, "text", sample(), "m")
    assert build_view(tmp_path, "text", sample() * 2, "m") == first  # a vector's length does not matter
    assert len(made) == 1
    build_view(tmp_path, "text", sample(), "other")
    build_view(tmp_path, "text", sample(seed=1), "other")
    assert len(made) == 3
    view = open_view(tmp_path, "text", "other")
    np.testing.assert_allclose(
        view.nearest(sample(seed=1)[1], 5)[1], exact(sample(seed=1), sample(seed=1)[1], 5, None), atol=1e-5
    )
    view.close()


def test_a_killed_build_leaves_nothing_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_view(tmp_path, "text", sample(), "m", die)
    with pytest.raises(UserError, match="no text view"):
        open_view(tmp_path, "text")
    build_view(tmp_path, "text", sample(), "m")
    open_view(tmp_path, "text").close()
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("vectors", "name"),
    [
        (np.empty((0, 3)), "text"),
        (np.ones(3), "text"),
        (np.full((2, 3), np.inf), "text"),
        (np.ones((2, 3)), "../text"),
        (np.ones((2, 3)), ""),
    ],
)
def test_build_refuses(tmp_path: Path, vectors: NDArray[np.float64], name: str) -> None:
    with pytest.raises(ValueError, match=r"finite|name a view"):
        build_view(tmp_path, name, vectors.astype(np.float32), "m")
    assert list(tmp_path.iterdir()) == []


def test_another_encoder(tmp_path: Path) -> None:
    build_view(tmp_path, "text", sample(), "model-a")
    with pytest.raises(UserError, match=r"another encoder: model-a, not model-b.*--text-model"):
        open_view(tmp_path, "text", "model-b")


def spoil_manifest(view: Path) -> None:
    (view / "manifest.json").write_text('{"version": 1}')


def spoil_version(view: Path) -> None:
    text = (view / "manifest.json").read_text()
    (view / "manifest.json").write_text(text.replace('"version": 1', '"version": 99'))


def spoil_shape(view: Path) -> None:
    np.save(view / "vectors.npy", np.ones((3, D), dtype=np.float32))


def spoil_vectors(view: Path) -> None:
    (view / "vectors.npy").write_bytes(b"not numpy")


def spoil_with_objects(view: Path) -> None:
    np.save(view / "vectors.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def drop_graph(view: Path) -> None:
    shutil.rmtree(view / "chroma")


def spoil_graph(view: Path) -> None:
    (view / "chroma" / "chroma.sqlite3").write_bytes(b"nothing of SQLite" * 1000)


def empty_graph(view: Path) -> None:
    import chromadb

    client = chromadb.PersistentClient(
        path=str(view / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False)
    )
    collection = client.list_collections()[0]
    collection.delete(ids=["1"])
    client.close()  # type: ignore[attr-defined]


def other_graph(view: Path) -> None:
    text = (view / "manifest.json").read_text()
    collection = json.loads(text)["collection"]
    (view / "manifest.json").write_text(text.replace(collection, "text-0000"))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_manifest,
        spoil_version,
        spoil_shape,
        spoil_vectors,
        spoil_with_objects,
        drop_graph,
        spoil_graph,
        empty_graph,
        other_graph,
    ],
)
def test_damage_is_told_and_mended_by_building_again(tmp_path: Path, spoil: object) -> None:
    build_view(tmp_path, "text", sample(), "m")
    spoil(tmp_path / "text")  # type: ignore[operator]
    with pytest.raises(UserError, match="build the workspace again"):
        open_view(tmp_path, "text")
    build_view(tmp_path, "text", sample(), "m")
    open_view(tmp_path, "text").close()


def test_no_such_view(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image view"):
        open_view(tmp_path, "image")


# -- a server ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as (url, _):
        yield url


def test_a_server_holds_the_graph(server: str, tmp_path: Path) -> None:
    build_view(tmp_path, "text", sample(), "m", url=server)
    assert not (tmp_path / "text" / "chroma").exists()
    build_view(tmp_path, "text", sample(), "m", url=server)  # kept
    view = replace(open_view(tmp_path, "text", "m", url=server), plan=GRAPH)
    query = np.ones(D, dtype=np.float32)
    mask = np.arange(N) % 2 == 0
    np.testing.assert_allclose(view.nearest(query, 9)[1], exact(sample(), query, 9, None), atol=1e-5)
    np.testing.assert_allclose(view.nearest(query, 9, mask)[1], exact(sample(), query, 9, mask), atol=1e-5)
    view.close()
    with pytest.raises(UserError, match="holds no vector index"):
        open_view(tmp_path, "text")


def test_a_server_without_the_collection(server: str, tmp_path: Path) -> None:
    build_view(tmp_path, "text", sample(seed=9), "m")
    with pytest.raises(UserError, match="no collection text-"):
        open_view(tmp_path, "text", url=server)


def test_a_server_that_goes_away(tmp_path: Path) -> None:
    with running_server(tmp_path / "server") as (url, process):
        build_view(tmp_path, "text", sample(), "m", url=url)
        view = open_view(tmp_path, "text", url=url)
        process.kill()
        process.wait()
        with pytest.raises(ToolError, match="did not answer"):
            view.nearest(np.ones(D, dtype=np.float32), 5)
        # what needs no graph still works
        assert len(view.nearest(np.ones(D, dtype=np.float32), 5, np.arange(N) < 50)[0]) == 5


def test_passwords_in_a_url_are_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave it out") as refused:
        build_view(tmp_path, "text", sample(), "m", url="http://ann:secret@127.0.0.1:9")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://127.0.0.1", "nonsense"])
def test_no_server(tmp_path: Path, url: str) -> None:
    build_view(tmp_path, "text", sample(), "m")
    with pytest.raises(UserError, match=r"server"):
        open_view(tmp_path, "text", url=url)
