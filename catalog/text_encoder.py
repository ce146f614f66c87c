"""Text encoder on sentence-transformers (Reimers & Gurevych, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..threads import encoder_threads
from .encoders import bounded, unit_rows
from .weights import Source, bundled_text_model, fingerprint, first_line, quiet_loading, text_source

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Tokens an encoder reads of a text at most; the rest is cut.
MAX_TOKENS = 256
BATCH = 32

_loading = Lock()


class SentenceEncoder:
    """A loaded sentence-transformers model. Made by `load` or `bundled`."""

    def __init__(self, model: SentenceTransformer, label: str) -> None:
        self.model = model
        # A fast tokenizer must not be used by two threads at once.
        self._lock = Lock()
        if model.max_seq_length is None or model.max_seq_length > MAX_TOKENS:
            model.max_seq_length = MAX_TOKENS
        self.model_id = f"st:{label}@{fingerprint(model.parameters())}"
        # Encoding one text is the way to the dimension that every model and library version has.
        self.dimension = int(self._encode(["text"]).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimension), unit rows."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return unit_rows(self._encode([bounded(text) for text in texts]))

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        with self._lock, torch.inference_mode():
            vectors = self.model.encode(texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def bundled() -> SentenceEncoder:
    """The default encoder, all-MiniLM-L6-v2, 384 dimensions; loaded once per process.

    Raises:
        UserError: the package that brings it is missing or incomplete.
    """
    with _loading:
        return _bundled()


def load(name: str) -> SentenceEncoder:
    """Load a model by folder or hub id.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    return _load(text_source(name), name)


@cache
def _bundled() -> SentenceEncoder:
    return _load(Source("folder", str(bundled_text_model())), "all-MiniLM-L6-v2", label="all-MiniLM-L6-v2")


def _load(source: Source, name: str, label: str | None = None) -> SentenceEncoder:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(encoder_threads())
    try:
        with quiet_loading():
            model = SentenceTransformer(source.location, device="cpu", local_files_only=source.kind == "folder")
        return SentenceEncoder(model.eval(), label or source.label)
    except Exception as error:  # the libraries below raise many kinds for a model that cannot be had or read
        where = "folder" if source.kind == "folder" else "hub model"
        raise UserError(
            f"text model {name!r}: the {where} {source.location} cannot be loaded ({first_line(error)})"
        ) from error
