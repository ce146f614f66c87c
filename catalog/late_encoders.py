"""A build's encoders, loaded when they are first used."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from .workspace import Build

if TYPE_CHECKING:
    from PIL.Image import Image


#: Single texts whose vectors are kept: 3 MB at 384 dimensions.
KEPT = 2000


class _Late:
    """An encoder that loads when it is first used: a recommendation needs none, and torch takes seconds to import.

    ``model_id`` and ``dimension`` are those of the build's view; what is loaded must be that model.
    """

    def __init__(self, build: Build, view: str) -> None:
        info = build.manifest.views[view]
        self.model_id = info.model
        self.dimension = info.dimension
        self._view = view
        self._place = build.path.parent.parent
        self._lock = threading.Lock()

    def _checked(self, model_id: str) -> None:
        if model_id != self.model_id:
            raise UserError(
                f"the {self._view} view of {self._place} was built with another encoder: {self.model_id}, here it is "
                f"{model_id}. Build the workspace again, or install the one it was built with"
            )


class LateTextEncoder(_Late):
    """The build's text encoder."""

    def __init__(self, build: Build) -> None:
        super().__init__(build, "text")
        self._name = build.manifest.text_model
        # A message is encoded to find demonstrations and to search, a stated taste at every ranking.
        self._single = lru_cache(maxsize=KEPT)(self._encode_single)

    @cached_property
    def _loaded(self) -> TextEncoder:
        encoder = load_text_encoder(self._name)
        self._checked(encoder.model_id)
        return encoder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `TextEncoder`. A text by itself is kept: asked again it costs nothing.

        Raises:
            UserError: the model installed is not the build's.
        """
        return self._single(texts[0]).copy() if len(texts) == 1 else self._ready().encode(texts)

    def forget(self) -> None:
        """Drop what is kept of single texts, which are mostly what users said."""
        self._single.cache_clear()

    def _encode_single(self, text: str) -> NDArray[np.float32]:
        return self._ready().encode([text])

    def _ready(self) -> TextEncoder:
        with self._lock:
            return self._loaded


class LateImageEncoder(_Late):
    """The build's image encoder."""

    def __init__(self, build: Build) -> None:
        super().__init__(build, "image")
        self._name = build.manifest.image_model

    @cached_property
    def _loaded(self) -> ImageEncoder:
        encoder = load_image_encoder(self._name)
        self._checked(encoder.model_id)
        return encoder

    def _ready(self) -> ImageEncoder:
        with self._lock:
            return self._loaded

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """See `ImageEncoder`. Raises UserError where the model installed is not the build's."""
        return self._ready().encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ImageEncoder`. Raises UserError where the model installed is not the build's."""
        return self._ready().encode_texts(texts)


def build_encoders(build: Build) -> tuple[TextEncoder, ImageEncoder | None]:
    """The encoders of a build's views (an image encoder only where there is an image view), not yet loaded."""
    return LateTextEncoder(build), LateImageEncoder(build) if "image" in build.manifest.views else None
