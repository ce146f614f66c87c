"""A trained LoRA, written as the GGUF adapter that llama.cpp reads; and read again, to be trained further.

The layout is that of ``llama_adapter_lora_init`` (llama.cpp, ``src/llama-adapter.cpp``): for a matrix W of (outputs,
inputs) the halves A of (rank, inputs) and B of (outputs, rank), applied as ``W + alpha / rank * B @ A``. llama.cpp
keeps the rows of q and k in the order of its rotary embedding; transformers puts them into its own when it reads a
GGUF file, so the rows of their B are put back here.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtra, UserError
from ..merging import BASE_NAME, BASE_SHA256, RECIPE, A, B, check_fit, read_adapter
from ..weights import sha256
from .base import ARCHITECTURE, require_llama

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from peft import PeftModel
    from torch import Tensor

#: Names of a layer's matrices in transformers, and in GGUF.
LAYERS: Mapping[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
#: The matrices to adapt, as ``target_modules`` of a ``peft.LoraConfig`` names them.
TARGETS = tuple(name.partition(".")[2] for name in LAYERS)
#: ``...layers.3.mlp.up_proj.lora_A.weight``, with or without the adapter's name before ``weight``.
_KEY = re.compile(r"(?:.*\.)?layers\.(\d+)\.(\w+\.\w+)\.lora_([AB])(?:\.\w+)?\.weight")


def write_adapter(
    path: Path,
    lora: PeftModel | Mapping[str, Tensor],
    *,
    base: Path,
    alpha: float,
    recipe: str,
    seeds: Sequence[int] = (),
) -> None:
    """Write an adapter, in F16. The same weights and words give the same bytes; it is written aside and renamed.

    Args:
        lora: the tuned model (its one adapter), or that adapter's state alone.
        base: the GGUF file that was read for tuning; its name and content are recorded.
        alpha: of the LoRA; its effect is scaled by alpha / rank.
        recipe: how it was trained, for people.
        seeds: of the training runs behind it.

    Raises:
        UserError: the base is no llama, or the LoRA does not fit it, changes other parts of it, or holds no numbers.
        MissingExtra: the package ``gguf`` is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise MissingExtra("writing an adapter", "tune") from None
    header = require_llama(base)
    heads = int(header.values[f"{ARCHITECTURE}.attention.head_count"])
    kv_heads = int(header.values.get(f"{ARCHITECTURE}.attention.head_count_kv", heads))
    tensors = _tensors(_state(lora, alpha), heads, kv_heads)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        made = Path(folder) / path.name
        writer = gguf.GGUFWriter(str(made), ARCHITECTURE)
        writer.add_type("adapter")
        writer.add_name(path.stem)
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        writer.add_string(BASE_NAME, base.name)
        writer.add_string(BASE_SHA256, sha256(base))
        writer.add_string(RECIPE, recipe)
        writer.add_string("llm4rec.seeds", " ".join(map(str, seeds)))
        for name, matrix in tensors.items():
            writer.add_tensor(name, matrix)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        check_fit(read_adapter(made), base)
        made.replace(path)


def read_into(model: PeftModel, path: Path, *, base: Path) -> None:
    """Set the factors of a model's LoRA to those of an adapter, which it then goes on from.

    Args:
        model: as peft made it of ``base``, with the rank and the alpha of the adapter.
        path: the adapter, as :func:`write_adapter` writes it.

    Raises:
        UserError: it is no adapter, does not fit the base, or its rank, alpha or matrices are others.
    """
    import gguf
    import torch
    from peft import LoraConfig

    adapter = read_adapter(path)
    check_fit(adapter, base)
    header = require_llama(base)
    heads = int(header.values[f"{ARCHITECTURE}.attention.head_count"])
    kv_heads = int(header.values.get(f"{ARCHITECTURE}.attention.head_count_kv", heads))
    (config,) = model.peft_config.values()
    assert isinstance(config, LoraConfig)
    if adapter.alpha != config.lora_alpha:
        raise UserError(f"{path}: was trained with alpha {adapter.alpha:g}, not {config.lora_alpha}")
    kept = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    for name, value in model.named_parameters():
        read = _KEY.fullmatch(name)
        if read is None:
            continue
        matrix = kept.pop(f"blk.{read[1]}.{LAYERS[read[2]]}.weight{A if read[3] == 'A' else B}", None)
        if matrix is None or tuple(matrix.shape) != tuple(value.shape):
            raise UserError(f"{path}: is of another rank or lacks a matrix: {name} is {tuple(value.shape)}")
        if read[3] == "B" and read[2] in ("self_attn.q_proj", "self_attn.k_proj"):
            matrix = transformers_order(matrix, heads if read[2] == "self_attn.q_proj" else kv_heads)
        with torch.no_grad():
            value.copy_(torch.tensor(matrix, dtype=value.dtype))
    if kept:
        raise UserError(f"{path}: changes what is not trained here: {min(kept)}")


def _state(lora: PeftModel | Mapping[str, Tensor], alpha: float) -> Mapping[str, Tensor]:
    if isinstance(lora, Mapping):
        return lora
    from peft import LoraConfig, get_peft_model_state_dict

    (config,) = lora.peft_config.values()
    assert isinstance(config, LoraConfig)
    unlike = [name for name in ("use_dora", "use_rslora", "alpha_pattern") if getattr(config, name)]
    if unlike or config.bias != "none":
        raise UserError(f"llama.cpp has no LoRA with {', '.join(unlike) or 'a bias'}")
    if config.lora_alpha != alpha:
        raise UserError(f"the LoRA was trained with alpha {config.lora_alpha}, not {alpha}")
    return dict(get_peft_model_state_dict(lora))


def _tensors(state: Mapping[str, Tensor], heads: int, kv_heads: int) -> dict[str, NDArray[np.float16]]:
    """GGUF's names and matrices, layer by layer."""
    import numpy as np

    found: dict[tuple[int, int, str], NDArray[np.float16]] = {}
    places = list(LAYERS)
    for key, value in state.items():
        read = _KEY.fullmatch(key)
        if read is None or read[2] not in LAYERS:
            raise UserError(f"{key}: is no LoRA of a matrix that an adapter for llama.cpp can change")
        matrix = value.detach().float().cpu().numpy()
        if read[3] == "B" and read[2] in ("self_attn.q_proj", "self_attn.k_proj"):
            matrix = rotary_order(matrix, heads if read[2] == "self_attn.q_proj" else kv_heads)
        with np.errstate(over="ignore"):
            small = np.ascontiguousarray(matrix, dtype=np.float16)
        if not np.isfinite(small).all():
            raise UserError(f"{key}: holds what is no number in 16 bits")
        place = (int(read[1]), places.index(read[2]), A if read[3] == "A" else B)
        if place in found:
            raise UserError(f"{key}: is there twice; give the state of one adapter")
        found[place] = small
    halves = {place[:2] for place in found}
    if not found or any((*place, half) not in found for place in halves for half in (A, B)):
        raise UserError("the LoRA is empty or lacks one half of a pair")
    return {
        f"blk.{layer}.{LAYERS[places[at]]}.weight{half}": found[layer, at, half] for layer, at, half in sorted(found)
    }


def rotary_order(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of q or k, from transformers' order to llama.cpp's: within each head, the two halves by turns.

    The same permutation as ``LlamaModel.permute`` of llama.cpp's ``convert_hf_to_gguf.py``.

    Args:
        rows: shape (heads * width of a head, anything).
    """
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def transformers_order(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of q or k, from llama.cpp's order to transformers': :func:`rotary_order` undone."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
