"""Adapters in GGUF: whether one fits a model, and the model with one merged into it.

A LoRA adapter adds ``scale * B @ A`` to a matrix. Applied at run time it costs two more products a matrix and token;
merged into the weights it costs nothing. llama.cpp turns the model into F16 and the sum into Q8_0, and between the two
the products are added in place, so neither torch nor any other reader of quantized weights is needed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from . import _gguf

if TYPE_CHECKING:
    import numpy as np

#: Keys by which an adapter says what it was made for (written by :mod:`llm4rec.agent.tuning.adapter`).
BASE_NAME, BASE_SHA256, RECIPE = "llm4rec.base.name", "llm4rec.base.sha256", "llm4rec.recipe"
A, B = ".lora_a", ".lora_b"
#: Numbers in ``enum llama_ftype``.
FILE_TYPES = {"F16": 1, "Q8_0": 7}
#: numpy's names of the types in ``enum ggml_type`` that need no decoding.
_PLAIN = {0: "<f4", 1: "<f2"}
#: Its matrices are kept the other way round, and where it also serves as the output llama.cpp adapts the input only.
_EMBEDDING = "token_embd.weight"


@dataclass(frozen=True)
class Adapter:
    """What an adapter's header says.

    Attributes:
        path: its file.
        architecture: of the models it is for.
        alpha: scale = alpha / rank; 0 is a scale of 1, as llama.cpp has it.
        base_name, base_sha256: of the model it was trained on; None where it does not say.
        tensors: where its matrices lie.
    """

    path: Path
    architecture: str
    alpha: float
    base_name: str | None
    base_sha256: str | None
    tensors: Mapping[str, _gguf.Tensor]

    @property
    def adapted(self) -> list[str]:
        """Names of the tensors that it changes."""
        return sorted({name.removesuffix(A) for name in self.tensors if name.endswith(A)})


def read_adapter(path: Path) -> Adapter:
    """Read the header of a LoRA adapter.

    Raises:
        UserError: there is no such file, or it is no LoRA adapter in GGUF.
    """
    header = _gguf.read_header(path)
    said = header.values
    if said.get("general.type") != "adapter" or said.get("adapter.type") != "lora":
        raise UserError(f"{path}: is no LoRA adapter (its type is {said.get('general.type', 'not given')})")
    for name in header.tensors:
        other = name.removesuffix(A) + B if name.endswith(A) else name.removesuffix(B) + A
        if not name.endswith((A, B)) or other not in header.tensors:
            raise UserError(f"{path}: is a broken adapter ({name} is no half of a pair)")
    alpha = said.get("adapter.lora.alpha")
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        raise UserError(f"{path}: is a broken adapter (alpha is {alpha})")
    base, digest = (None if said.get(key) is None else str(said[key]) for key in (BASE_NAME, BASE_SHA256))
    return Adapter(path, header.architecture, alpha, base, digest, header.tensors)


def check_fit(adapter: Adapter, base: Path) -> None:
    """Compare architecture and shapes with a model, from both headers.

    Raises:
        UserError: the adapter cannot be applied to the model.
    """
    header = _gguf.read_header(base)
    if adapter.architecture != header.architecture:
        why = f"it is for the architecture {adapter.architecture}, the model's is {header.architecture}"
        raise UserError(_misfit(adapter, base, why))
    for name in adapter.adapted:
        if name not in header.tensors:
            raise UserError(_misfit(adapter, base, f"the model has no {name}"))
        if name == _EMBEDDING:
            continue  # llama.cpp checks it when it loads it
        wide, tall = adapter.tensors[name + A].shape, adapter.tensors[name + B].shape
        shape = header.tensors[name].shape
        if len(wide) != 2 or len(tall) != 2 or (tall[0], wide[1]) != shape or tall[1] != wide[0]:
            raise UserError(_misfit(adapter, base, f"{name} is {shape}, the adapter's halves are {tall} and {wide}"))


def _misfit(adapter: Adapter, base: Path, why: str) -> str:
    return f"{adapter.path}: this adapter does not fit {base.name}: {why}"


def merge(base: Path, adapter: Adapter, target: Path) -> None:
    """Write a model with an adapter merged into it, in Q8_0. Takes seconds, and disk for a copy in F16 meanwhile.

    Raises:
        UserError: the adapter does not fit, or changes the embedding.
        OSError: the disk is full, or llama.cpp cannot read the model.
    """
    check_fit(adapter, base)
    if _EMBEDDING in adapter.adapted:
        raise UserError(f"{adapter.path}: changes the embedding and cannot be merged: set LLM4REC_ADAPTER=runtime")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        whole = Path(folder) / "whole.gguf"
        quantize(base, whole, "F16")
        add(adapter, whole)
        quantize(whole, target, "Q8_0")


def add(adapter: Adapter, whole: Path) -> None:
    """Add ``scale * B @ A`` to the tensors of a model in F16, in place: no other copy of it is made.

    Raises:
        UserError: the adapter is damaged, or the file is in another type.
    """
    import numpy as np

    tensors = _gguf.read_header(whole).tensors
    for name in adapter.adapted:
        wide, tall = (_plain(adapter.path, name + half, adapter.tensors[name + half], "r") for half in (A, B))
        scale = np.float32(adapter.alpha / len(wide) if adapter.alpha else 1.0)
        weights = _plain(whole, name, tensors[name], "r+")
        total = weights + scale * (tall.astype(np.float32) @ wide.astype(np.float32))
        if not np.abs(total).max() < np.finfo(weights.dtype).max:  # not a number, too
            raise UserError(f"{adapter.path}: is a broken adapter (with it, {name} is not finite)")
        weights[:] = total
        weights.flush()


def _plain(path: Path, name: str, tensor: _gguf.Tensor, mode: Literal["r", "r+"]) -> np.memmap[Any, np.dtype[Any]]:
    import numpy as np

    if tensor.kind not in _PLAIN:
        raise UserError(f"{path}: {name} is in type {tensor.kind}; only F32 and F16 can be merged")
    try:
        return np.memmap(path, dtype=_PLAIN[tensor.kind], mode=mode, offset=tensor.offset, shape=tensor.shape)
    except ValueError:
        raise UserError(f"{path}: is cut off in {name}") from None


def quantize(source: Path, target: Path, kind: Literal["F16", "Q8_0"]) -> None:
    """Write a model anew in another type, by llama.cpp.

    Raises:
        OSError: it cannot be made.
    """
    import llama_cpp

    from ..threads import llm_threads
    from .engine import last_complaint, quiet

    quiet()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[kind]
    params.allow_requantize = True
    params.nthread = llm_threads()
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        raise OSError(f"llama.cpp could not make it: {last_complaint() or 'no reason given'}")
    if _gguf.read_header(target).quantization != kind:
        raise OSError("llama.cpp made something else")
