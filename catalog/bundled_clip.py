"""The default image encoder: an open_clip model put together from parts that are already installed.

Image tower: EfficientNet-Lite0 trained on ImageNet; its 1280 pooled features, square-rooted (power
normalisation: Perronnin, Sanchez & Mensink, 2010), are the image's vector. They find an image again
from a crop, which a projection to a text space loses.

Text tower: all-MiniLM-L6-v2, then a map from sentence to feature space. The map needs no image: the
classifier on top of the image tower has one row in feature space per ImageNet class, and the class has
a name. Kernel ridge regression from the embedded names t_c to the normalised, centred rows r_c (writing
a classifier from its description: Elhoseiny, Saleh & Elgammal, 2013) gives, with the kernel
k(s, t) = exp((cos(s, t) - 1) / tau) and K the 1000 x 1000 matrix of k between names,

    f(t) = sum_c k(t, t_c) C_c,    C = (K + lambda I)^-1 R.

Scaling the kernel's row to sum one changes only the length of f(t), which cosine ignores; f is then a
softmax over the classes, and the map is made of ordinary layers. It knows ImageNet's things (animals,
vehicles, tools), little of people, style or mood.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from functools import cache
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..threads import encoder_threads
from . import text_encoder
from .image_encoder import ClipEncoder
from .weights import bundled_image_weights, bundled_text_model, fingerprint, first_line, quiet_loading

if TYPE_CHECKING:
    import torch

CONFIG = "lite0_minilm.json"
#: Put around every text, class names and queries alike.
PROMPT = "a picture of {}"
#: Width of the kernel and strength of the ridge, chosen by five-fold cross-validation over the classes:
#: rank of a held-out class's own row, asked for by its name.
TAU = 0.2
RIDGE = 0.5
#: Changes whenever the vectors would: part of the model id and of the cached map's name.
RECIPE = "v1"

_log = logging.getLogger(__name__)
_loading = Lock()


def bundled() -> ClipEncoder:
    """The default image encoder, 1280 dimensions; loaded once per process.

    Raises:
        UserError: a package that brings its weights is missing or damaged.
    """
    with _loading:
        return _bundled()


@cache
def _bundled() -> ClipEncoder:
    import torch
    from open_clip import CustomTextCLIP
    from open_clip.tokenizer import HFTokenizer
    from open_clip.transform import PreprocessCfg, image_transform_v2

    torch.set_num_threads(encoder_threads())
    sentences = text_encoder.bundled()
    config = json.loads((resources.files(__package__) / CONFIG).read_text(encoding="utf-8"))
    text_folder = str(bundled_text_model())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = text_folder
    with quiet_loading():
        model = CustomTextCLIP(**config["model_cfg"])
        tokenizer = HFTokenizer(text_folder, context_length=config["model_cfg"]["text_cfg"]["context_length"])

    def tokenize(texts: list[str]) -> torch.Tensor:
        # The tokenizer fills every text up to the whole context; a query is a few words of it.
        tokens: torch.Tensor = tokenizer(texts)
        longest = int((tokens != tokenizer.tokenizer.pad_token_id).sum(dim=1).max())
        return tokens[:, :longest]

    rows = _load_image_tower(model.visual.trunk, bundled_image_weights())
    # One copy of MiniLM in memory, shared with the text encoder.
    model.text.transformer = sentences.model[0].auto_model
    weights = fingerprint([*model.visual.trunk.parameters(), *model.text.transformer.parameters()])
    names, coefficients = text_map(rows, sentences, key=weights)
    model.text.proj = _as_layers(names, coefficients)
    model.visual.register_forward_hook(lambda _module, _inputs, features: features.sqrt())
    preprocess = image_transform_v2(PreprocessCfg(**config["preprocess_cfg"]), is_train=False)
    return ClipEncoder(model.eval(), preprocess, tokenize, f"open_clip:lite0-minilm-{RECIPE}@{weights}", PROMPT)


def _load_image_tower(trunk: torch.nn.Module, path: Path) -> NDArray[np.float32]:
    """Fill timm's EfficientNet-Lite0; the classifier's rows, shape (1000, 1280).

    The file names its tensors otherwise than timm does, in the same order; the classifier comes last.
    """
    import torch

    damaged = f"{path} is damaged: reinstall the package that brings it"
    try:
        values = list(torch.load(path, map_location="cpu", weights_only=True).values())
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(f"{damaged} ({first_line(error)})") from error
    expected = trunk.state_dict()
    *tower, rows, _bias = values
    if [v.shape for v in tower] != [v.shape for v in expected.values()] or rows.shape != (1000, 1280):
        raise UserError(f"{damaged} (its tensors are not those of EfficientNet-Lite0)")
    trunk.load_state_dict(dict(zip(expected, tower, strict=True)))
    return np.asarray(rows.numpy(), dtype=np.float32)


def _as_layers(names: NDArray[np.float32], coefficients: NDArray[np.float32]) -> torch.nn.Module:
    """The map from sentence space to feature space as layers."""
    import torch
    from torch import nn

    width, classes = names.shape[1], names.shape[0]
    # RMSNorm without weights is the row over its length, times sqrt(width).
    to_classes = nn.Linear(width, classes, bias=False)
    to_features = nn.Linear(classes, coefficients.shape[1], bias=False)
    with torch.no_grad():
        to_classes.weight.copy_(torch.from_numpy(names / (TAU * width**0.5)))
        to_features.weight.copy_(torch.from_numpy(np.ascontiguousarray(coefficients.T)))
    normalise = nn.RMSNorm(width, eps=1e-12, elementwise_affine=False)
    return nn.Sequential(normalise, to_classes, nn.Softmax(dim=-1), to_features)


def text_map(
    rows: NDArray[np.float32], sentences: text_encoder.SentenceEncoder, key: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class names embedded, (1000, 384), and the map's coefficients, (1000, 1280).

    Solved at first use and kept in the user's cache folder; a damaged file there is made again.

    Args:
        rows: the classifier's rows, (1000, 1280).
        sentences: embeds the class names.
        key: names the weights the map belongs to.
    """
    from open_clip import IMAGENET_CLASSNAMES

    prompted = [PROMPT.format(name) for name in IMAGENET_CLASSNAMES]
    recipe = json.dumps([RECIPE, key, TAU, RIDGE, prompted])
    path = cache_folder() / f"text-map-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.safetensors"
    shapes = {"names": (len(rows), sentences.dimension), "coefficients": rows.shape}
    stored = _read_cached(path, shapes)
    if stored is None:
        names = sentences.encode(prompted)
        stored = {"names": names, "coefficients": solve(names, rows)}
        _write_cached(path, stored)
    return stored["names"], stored["coefficients"]


def solve(names: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernel ridge coefficients C = (K + lambda I)^-1 R, shape of ``rows``.

    Args:
        names: unit rows, (classes, width).
        rows: the classifier's rows, (classes, features); centred and normalised here.
    """
    from scipy.linalg import solve as solve_linear

    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    targets = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    wide = names.astype(np.float64)
    kernel = np.exp((wide @ wide.T - 1) / TAU)
    kernel[np.diag_indices_from(kernel)] += RIDGE
    return np.ascontiguousarray(solve_linear(kernel, targets, assume_a="pos"), dtype=np.float32)


def cache_folder() -> Path:
    """Where files live that can be made again: the user's cache folder, by the system's custom."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("llm4rec", appauthor=False))


def _digest(arrays: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))).hexdigest()


def _read_cached(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]] | None:
    """What an earlier run stored, or None; a damaged file is reported in the log."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in shapes}
            digest = (stored.metadata() or {}).get("sha256")
    except (SafetensorError, OSError) as error:
        _log.warning("%s is damaged (%s): it is made again", path, first_line(error))
        return None
    if {name: array.shape for name, array in arrays.items()} != shapes or digest != _digest(arrays):
        _log.warning("%s is damaged (its content is not what was written): it is made again", path)
        return None
    return arrays


def _write_cached(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    """Store for the next run, atomically; a folder that cannot be written is reported in the log."""
    from safetensors.numpy import save_file

    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, draft, metadata={"sha256": _digest(arrays)})
        draft.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written (%s): it will be made again next time", path, first_line(error))
