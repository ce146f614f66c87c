"""What turns text and images into vectors.

Encoders are interchangeable: anything with these few members serves. Rows are always float32 of unit
length, so that a dot product is a cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

#: Texts are cut to this many characters before they are encoded.
MAX_CHARACTERS = 2000


class TextEncoder(Protocol):
    """Texts to vectors.

    Attributes:
        model_id: names the model and its revision, the same on every machine.
        dimension: length of a vector.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimension), unit rows. May be called from several threads."""
        ...


class ImageEncoder(Protocol):
    """Images and texts to vectors of one space, so that one cosine index answers both kinds of query.

    Cosines between two images and between a text and an image are on different scales (the modality
    gap): rank within a query, never across the two kinds.

    Attributes:
        model_id: names the model and its revision, the same on every machine.
        dimension: length of a vector.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Shape (len(images), dimension), unit rows. May be called from several threads."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimension), unit rows. May be called from several threads."""
        ...


def load_text_encoder(name: str | None = None) -> TextEncoder:
    """Load a sentence-transformers model.

    Args:
        name: None for the bundled all-MiniLM-L6-v2 (loaded once per process), else a local folder, or a
            model of the Hugging Face hub as ``hf:OWNER/NAME`` or ``OWNER/NAME``. Only a hub name given
            here may use the network.

    Raises:
        UserError: there is no such model, or it cannot be loaded; says what was tried.
    """
    from .text_encoder import bundled, load

    return bundled() if name is None else load(name)


def load_image_encoder(name: str | None = None) -> ImageEncoder:
    """Load an open_clip model.

    Args:
        name: None for the bundled model (loaded once per process; see `bundled_clip`), else
            ``ARCHITECTURE/PRETRAINED`` where PRETRAINED is a tag or a checkpoint file, a local folder with
            ``open_clip_config.json``, or ``hf-hub:OWNER/NAME``. Only a tag or a hub name given here may use
            the network.

    Raises:
        UserError: there is no such model, or it cannot be loaded; says what was tried.
    """
    from .bundled_clip import bundled
    from .image_encoder import load

    return bundled() if name is None else load(name)


def bounded(text: str) -> str:
    """The text an encoder sees: at most `MAX_CHARACTERS`, with lone surrogates replaced.

    A tokenizer refuses half of a surrogate pair, which broken JSON can hold.
    """
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
