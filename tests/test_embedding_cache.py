"""The cache of embeddings: nothing is encoded twice, and damage costs only time."""

from __future__ import annotations

import hashlib
import io
import logging
import multiprocessing
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog import embedding_cache
from llm4rec.catalog.embedding_cache import EmbeddingCache, embed_images, embed_texts
from llm4rec.errors import UserError
from numpy.typing import NDArray
from PIL import Image


class FakeEncoder:
    """Vectors from a hash of the content; remembers what it was asked. Stops after ``fuel`` calls."""

    dimension = 8

    def __init__(self, model_id: str = "fake@1", fuel: int = 10**9) -> None:
        self.model_id = model_id
        self.fuel = fuel
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.fuel == 0:
            raise KeyboardInterrupt
        self.fuel -= 1
        self.seen += texts
        return np.stack([unit(self.model_id + text) for text in texts])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self.encode([str(image.getpixel((0, 0))) for image in images])


def unit(text: str) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
    vector = np.random.default_rng(seed).normal(size=8)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def expected(texts: Sequence[str], model_id: str = "fake@1") -> NDArray[np.float32]:
    return np.array([unit(model_id + text) for text in texts], dtype=np.float32).reshape(len(texts), 8)


def png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


def test_second_time_encodes_nothing(tmp_path: Path) -> None:
    texts = [f"text {n % 90}" for n in range(200)]
    with EmbeddingCache(tmp_path / "deep" / "cache.sqlite") as cache:
        first, second = FakeEncoder(), FakeEncoder()
        assert np.array_equal(embed_texts(first, texts, cache), expected(texts))
        assert len(first.seen) == 90  # equal texts once
        assert np.array_equal(embed_texts(second, texts, cache), expected(texts))
        assert second.seen == []
    with EmbeddingCache(tmp_path / "deep" / "cache.sqlite") as cache:  # from disk
        assert np.array_equal(embed_texts(second, [*texts, "new"], cache), expected([*texts, "new"]))
        assert second.seen == ["new"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=6)), st.lists(st.text(max_size=6)))
def test_cached_equals_uncached(tmp_path_factory: pytest.TempPathFactory, before: list[str], texts: list[str]) -> None:
    with EmbeddingCache(tmp_path_factory.mktemp("cache") / "c.sqlite") as cache:
        embed_texts(FakeEncoder(), before, cache)
        assert np.array_equal(embed_texts(FakeEncoder(), texts, cache), expected(texts))
    assert np.array_equal(embed_texts(FakeEncoder(), texts), expected(texts))


def test_models_do_not_share_vectors(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        embed_texts(FakeEncoder("fake@1"), ["x"], cache)
        assert np.array_equal(embed_texts(FakeEncoder("fake@2"), ["x"], cache), expected(["x"], "fake@2"))


def test_killed_run_continues(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(4 * embedding_cache.TEXT_BATCH)]
    path = tmp_path / "c.sqlite"
    with EmbeddingCache(path) as cache, pytest.raises(KeyboardInterrupt):
        embed_texts(FakeEncoder(fuel=3), texts, cache)
    rest = FakeEncoder()
    with EmbeddingCache(path) as cache:
        assert np.array_equal(embed_texts(rest, texts, cache), expected(texts))
    assert len(rest.seen) == embedding_cache.TEXT_BATCH


def test_progress_rises_to_the_total(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(150)]
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        embed_texts(FakeEncoder(), texts[:20], cache)
        calls: list[tuple[int, int]] = []
        embed_texts(FakeEncoder(), texts, cache, lambda done, total: calls.append((done, total)))
    assert calls[0] == (20, 150)
    assert calls[-1] == (150, 150)
    assert calls == sorted(calls)


def test_images_with_unreadable_ones(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(png((1, 2, 3)))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    sources = [good, None, bad, tmp_path / "absent.png", png((4, 5, 6)), good.read_bytes()]
    encoder = FakeEncoder()
    calls: list[tuple[int, int]] = []
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        result = embed_images(encoder, sources, cache, lambda done, total: calls.append((done, total)))
        again = embed_images(FakeEncoder(fuel=0), sources, cache)  # would stop if asked for anything
    assert np.array_equal(result.vectors[[0, 4, 5]], expected(["(1, 2, 3)", "(4, 5, 6)", "(1, 2, 3)"]))
    assert not result.vectors[[1, 2, 3]].any()
    assert [row for row, _ in sorted(result.unreadable)] == [2, 3]
    assert all(name in " ".join(reason for _, reason in result.unreadable) for name in ("bad.png", "absent.png"))
    assert len(encoder.seen) == 2  # the same content once, whatever its name
    assert np.array_equal(again.vectors, result.vectors)
    assert again.unreadable == result.unreadable
    assert calls == [(0, 6), (6, 6)]


def test_killed_image_run_continues(tmp_path: Path) -> None:
    sources = [png((n, 0, 0)) for n in range(3 * embedding_cache.IMAGE_BATCH)]
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(KeyboardInterrupt):
            embed_images(FakeEncoder(fuel=2), sources, cache)
        rest = FakeEncoder()
        result = embed_images(rest, sources, cache)
    assert len(rest.seen) == embedding_cache.IMAGE_BATCH
    assert np.array_equal(result.vectors, expected([f"({n}, 0, 0)" for n in range(len(sources))]))


def test_empty_inputs(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        assert embed_texts(FakeEncoder(), [], cache).shape == (0, 8)
        assert embed_images(FakeEncoder(), [], cache).vectors.shape == (0, 8)


def fill(path: Path) -> None:
    with EmbeddingCache(path) as cache:
        embed_texts(FakeEncoder(), [f"text {n}" for n in range(500)], cache)


@pytest.mark.parametrize("damage", ["not a database", "header", "pages", "cut"])
def test_a_damaged_file_is_set_aside(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.sqlite"
    fill(path)
    content = bytearray(path.read_bytes())
    if damage == "not a database":
        content = bytearray(b"hello " * 1000)
    elif damage == "header":
        content[:100] = b"\0" * 100
    elif damage == "pages":
        content[4096:] = b"\xa5" * (len(content) - 4096)
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    texts = [f"text {n}" for n in range(500)]
    with caplog.at_level(logging.WARNING), EmbeddingCache(path) as cache:
        assert np.array_equal(embed_texts(FakeEncoder(), texts, cache), expected(texts))
        assert np.array_equal(embed_texts(FakeEncoder(fuel=0), texts, cache), expected(texts))
    assert len(list(tmp_path.glob("c.sqlite.damaged-*"))) == 1
    assert any("set aside" in record.getMessage() for record in caplog.records)


def test_a_damaged_vector_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.sqlite"
    fill(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE embeddings SET vector = zeroblob(32)")
    connection.commit()
    connection.close()
    with caplog.at_level(logging.WARNING), EmbeddingCache(path) as cache:
        assert np.array_equal(embed_texts(FakeEncoder(), ["text 7"], cache), expected(["text 7"]))
    assert any("damaged vector" in record.getMessage() for record in caplog.records)


def test_a_place_that_cannot_hold_it_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="embedding cache"):
        EmbeddingCache(tmp_path / "file" / "c.sqlite")
    with pytest.raises(UserError, match="embedding cache"):
        EmbeddingCache(tmp_path)


def test_many_threads(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(cache: EmbeddingCache, offset: int) -> None:
        texts = [f"text {n}" for n in range(offset, offset + 100)]
        try:
            assert np.array_equal(embed_texts(FakeEncoder(), texts, cache), expected(texts))
        except BaseException as error:
            failures.append(error)

    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        threads = [threading.Thread(target=work, args=(cache, 40 * n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def _work_in_a_process(path: Path, offset: int) -> None:
    texts = [f"text {n}" for n in range(offset, offset + 200)]
    for _ in range(3):  # opening races too
        with EmbeddingCache(path) as cache:
            assert np.array_equal(embed_texts(FakeEncoder(), texts, cache), expected(texts))


def test_many_processes(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    # Forked: a spawned child would have to import this test by name.
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work_in_a_process, args=(path, 100 * n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with EmbeddingCache(path) as cache:
        texts = [f"text {n}" for n in range(500)]
        assert np.array_equal(embed_texts(FakeEncoder(fuel=0), texts, cache), expected(texts))
    assert list(tmp_path.glob("*.damaged-*")) == []
