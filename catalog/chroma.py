"""The little of Chroma that is used: one collection of vectors by row number, embedded or on a server.

Chroma is never given a text, a picture or anything of a user: ids are row numbers, and vectors always come from
outside, so that it has nothing to embed. Its telemetry is off.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..errors import ToolError, UserError

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

#: Vectors handed over at once; Chroma takes at most 5,461.
_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Hnsw:
    """Settings of the graph index (Malkov & Yashunin 2018, arXiv 1603.09320).

    Chosen on 100,000 vectors of 384 dimensions in clusters of uneven size, half of the queries lying between two
    clusters, which is where a greedy search of a graph goes astray. With Chroma's own settings (16, 100, 100) recall@10
    was 0.84 there and some queries found nothing right; with these it is 0.97 and over, for about 2 ms a query more.
    ``benchmarks/bench_search.py`` measures them.
    """

    max_neighbors: int = 32
    """Links kept per vector, M in the paper."""
    ef_construction: int = 200
    """Candidates looked at when a vector is inserted."""
    ef_search: int = 1000
    """Candidates looked at in a search. Costs little: most of a call is Chroma's own overhead."""


class ChromaCollection:
    """An open collection. Safe to use from many threads."""

    def __init__(self, client: Client, collection: Collection) -> None:
        self._client = client
        self._collection = collection
        self._closed = False

    def count(self) -> int:
        return int(self._collection.count())

    def nearest(self, vector: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """Row numbers of about the ``n`` nearest, nearest first.

        Raises:
            ToolError: the server did not answer.
        """
        import httpx
        from chromadb.errors import ChromaError

        try:
            found = self._collection.query(query_embeddings=vector[np.newaxis], n_results=n, include=[])
        except (ChromaError, httpx.HTTPError) as error:
            raise ToolError(f"the vector index did not answer ({error}): try again") from error
        return np.array([int(row) for row in found["ids"][0]], dtype=np.int64)

    def close(self) -> None:
        """Let go of the files. Needed before their folder is renamed or removed."""
        if not self._closed:
            self._closed = True
            self._client.close()


def create_collection(
    place: Path | str,
    name: str,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    hnsw: Hnsw,
    progress: Callable[[int, int], None],
) -> None:
    """Make a collection of ``vectors[rows]``, replacing one of the same name.

    Args:
        place: an empty folder, or a server's URL.
        vectors: shape (n_items, d), unit rows where ``rows`` points.
        progress: called with (done, total) after each batch.

    Raises:
        UserError: no server answers at the URL.
    """
    import chromadb.errors

    # The graph is saved whenever as many vectors as the threshold have come. What a smaller last batch brought would be
    # inserted anew at every opening (1.3 s for 7,000 vectors), so all batches are of one size.
    batches = np.array_split(rows, max(1, -(-len(rows) // _BATCH)))
    smallest = max(2, min(len(batch) for batch in batches))
    client = _connect(place)
    try:
        if name in {known.name for known in client.list_collections()}:
            client.delete_collection(name)
        settings: CreateHNSWConfiguration = {
            "space": "cosine",
            "max_neighbors": hnsw.max_neighbors,
            "ef_construction": hnsw.ef_construction,
            "ef_search": hnsw.ef_search,
            "batch_size": smallest,
            "sync_threshold": smallest,
        }
        collection = client.create_collection(name, embedding_function=None, configuration={"hnsw": settings})
        done = 0
        for batch in batches:
            if len(batch):
                collection.add(ids=[str(row) for row in batch], embeddings=vectors[batch])
            done += len(batch)
            progress(done, len(rows))
    except chromadb.errors.ChromaError as error:
        raise UserError(f"Chroma refused to make the collection {name}: {error}") from error
    finally:
        client.close()


def open_collection(place: Path | str, name: str) -> ChromaCollection:
    """Open a collection that exists.

    Raises:
        UserError: there is none, its files are damaged, or no server answers.
    """
    import chromadb.errors

    if isinstance(place, Path):
        _check_file(place / "chroma.sqlite3")
    client = _connect(place)
    try:
        return ChromaCollection(client, client.get_collection(name, embedding_function=None))
    except chromadb.errors.NotFoundError:
        client.close()
        raise UserError(
            f"no collection {name} at {place}: build the workspace again"
            + ("" if isinstance(place, Path) else " with the server's URL")
        ) from None
    except chromadb.errors.ChromaError as error:
        client.close()
        raise UserError(f"the vector index at {place} cannot be read ({error}): build the workspace again") from error


def _check_file(path: Path) -> None:
    """Chroma, given a damaged file, keeps a half-made client that fails at every later opening: look before."""
    if not path.is_file():
        raise UserError(f"{path.parent} holds no vector index: build the workspace again")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise UserError(f"the vector index at {path} is damaged ({error}): build the workspace again") from error


def _connect(place: Path | str) -> Client:
    import chromadb
    import chromadb.errors
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    try:
        if isinstance(place, Path):
            return cast("Client", chromadb.PersistentClient(path=str(place), settings=settings))
        url = urlsplit(place)
        if url.scheme not in ("http", "https") or url.hostname is None:
            raise UserError(f"not a Chroma server's URL: {place!r}. Write for example http://localhost:8000")
        if url.username or url.password:  # it would be written into the workspace, and Chroma would not get it
            raise UserError(f"the URL of the Chroma server at {url.hostname} holds a name or password: leave it out")
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 8000)
        client = chromadb.HttpClient(host=url.hostname, port=port, ssl=secure, settings=settings)
        return cast("Client", client)
    except (chromadb.errors.ChromaError, ValueError) as error:
        mend = "build the workspace again" if isinstance(place, Path) else "is the server running?"
        raise UserError(f"cannot open the vector index at {place} ({error}): {mend}") from error
