"""Image encoder on open_clip (Ilharco et al., 2021): any of its models, images and texts in one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..threads import encoder_threads
from .encoders import bounded, unit_rows
from .weights import Source, fingerprint, first_line, image_source, quiet_loading

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

BATCH = 32


class ClipEncoder:
    """A loaded open_clip model. Made by `load`, or by `bundled_clip.bundled` for the default.

    Args:
        model: has ``encode_image`` and ``encode_text``, in eval mode.
        preprocess: one image to a (3, height, width) tensor.
        tokenizer: texts to a (n, context) tensor of token ids.
        model_id: names the model and its revision.
        prompt: put around a text before it is encoded; ``{}`` stands for the text.
    """

    def __init__(
        self,
        model: Any,
        preprocess: Callable[[Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        model_id: str,
        prompt: str = "{}",
    ) -> None:
        self.model = model
        self.model_id = model_id
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._prompt = prompt
        # A fast tokenizer must not be used by two threads at once.
        self._lock = Lock()
        self.dimension = int(self._texts(["text"]).shape[1])

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Shape (len(images), dimension), unit rows."""
        import torch

        rows = [np.zeros((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(images), BATCH):
            batch = torch.stack([self._preprocess(image) for image in images[start : start + BATCH]])
            with self._lock, torch.inference_mode():
                rows.append(self.model.encode_image(batch).float().numpy())
        return unit_rows(np.concatenate(rows))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimension), unit rows."""
        rows = [np.zeros((0, self.dimension), dtype=np.float32)]
        prompted = [self._prompt.format(bounded(text)) for text in texts]
        for start in range(0, len(prompted), BATCH):
            rows.append(self._texts(prompted[start : start + BATCH]))
        return unit_rows(np.concatenate(rows))

    def _texts(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        with self._lock, torch.inference_mode():
            return np.asarray(self.model.encode_text(self._tokenizer(texts)).float().numpy(), dtype=np.float32)


def load(name: str) -> ClipEncoder:
    """Load an open_clip model by name; see `encoders.load_image_encoder`.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    source = image_source(name)
    import open_clip
    import torch

    torch.set_num_threads(encoder_threads())
    if source.kind == "open_clip":
        _check_names(source, name)
    address = {"folder": "local-dir:", "hub": "hf-hub:", "open_clip": ""}[source.kind] + source.location
    try:
        with quiet_loading():
            # require_pretrained: without it open_clip goes on with random weights when it finds none.
            model, _, preprocess = open_clip.create_model_and_transforms(
                address,
                source.pretrained or None,
                device="cpu",
                weights_only=True,
                require_pretrained=True,
            )
            tokenizer = open_clip.get_tokenizer(address)
        model_id = f"open_clip:{source.label}@{fingerprint(model.parameters())}"
        return ClipEncoder(model.eval(), preprocess, tokenizer, model_id)
    except Exception as error:  # the libraries below raise many kinds for a model that cannot be had or read
        tried = f"{address} {source.pretrained}".strip()
        raise UserError(f"image model {name!r}: {tried} cannot be loaded ({first_line(error)})") from error


def _check_names(source: Source, name: str) -> None:
    """Raise UserError for an architecture or a tag that open_clip does not know."""
    from pathlib import Path

    import open_clip

    if source.location not in open_clip.list_models():
        raise UserError(f"image model {name!r}: open_clip has no architecture {source.location!r}, and no such folder")
    tags = open_clip.list_pretrained_tags_by_model(source.location)
    if source.pretrained not in tags and not Path(source.pretrained).is_file():
        known = ", ".join(tags) or "none"
        raise UserError(
            f"image model {name!r}: {source.pretrained!r} is no checkpoint file and no tag of {source.location} "
            f"(tags: {known})"
        )
