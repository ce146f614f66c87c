"""A randomly initialised llama of a few hundred kilobytes: another vocabulary, another chat template, no sense."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np

#: Knows neither system nor tool messages, and insists that user and assistant take turns.
STRICT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)
WORDS = "the a is film movie book like find search rate name arguments query limit null true false one two history"


def write(
    path: Path,
    *,
    template: str | None = STRICT_TEMPLATE,
    seed: int = 0,
    context: int = 2048,
    width: int = 64,
    precise: bool = False,
) -> Path:
    """Write the model (two layers; Q4_0 weights, or F32 if ``precise``) and return its path."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if precise else gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(2)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    _vocabulary(writer)
    if template is not None:
        writer.add_chat_template(template)
    size = len(_tokens()[0])

    def quantized(name: str, *shape: int) -> None:
        values = rng.normal(0, 1.5 / np.sqrt(shape[-1]), shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.F32 if precise else gguf.GGMLQuantizationType.Q4_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    quantized("token_embd.weight", size, width)
    for layer in (f"blk.{n}." for n in range(2)):
        ones(layer + "attn_norm.weight")
        ones(layer + "ffn_norm.weight")
        quantized(layer + "attn_q.weight", width, width)
        quantized(layer + "attn_k.weight", width // 2, width)
        quantized(layer + "attn_v.weight", width // 2, width)
        quantized(layer + "attn_output.weight", width, width)
        quantized(layer + "ffn_gate.weight", 2 * width, width)
        quantized(layer + "ffn_up.weight", 2 * width, width)
        quantized(layer + "ffn_down.weight", width, 2 * width)
    ones("output_norm.weight")
    quantized("output.weight", size, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_adapter(
    path: Path, *, size: float, seed: int = 0, width: int = 64, rank: int = 4, base: Path | None = None
) -> Path:
    """Write a LoRA adapter for the first layer's query weights, and return its path. ``base``: what it is made for."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    if base is not None:
        writer.add_string("llm4rec.base.name", base.name)
        writer.add_string("llm4rec.base.sha256", hashlib.sha256(base.read_bytes()).hexdigest())
    writer.add_tensor("blk.0.attn_q.weight.lora_a", rng.normal(0, 1, (rank, width)).astype(np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", rng.normal(0, size, (width, rank)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokens() -> tuple[list[str], list[float], list[int]]:
    """A SentencePiece vocabulary: three specials, all bytes, characters, and words with their space."""
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [kinds.BYTE] * 256
    pieces = [chr(c) for c in range(0x21, 0x7F)] + ["▁", "é", "ü", "中", "文", '{"', '":', '","', '"}', "[{", "}]"]
    pieces += [part for word in WORDS.split() for part in ("▁" + word, word) if len(word) > 1]
    pieces = list(dict.fromkeys(pieces))
    tokens += pieces
    types += [kinds.NORMAL] * len(pieces)
    scores = [0.0] * (len(tokens) - len(pieces)) + [float(len(piece)) - 20.0 for piece in pieces]
    return tokens, scores, [int(kind) for kind in types]


def _vocabulary(writer: gguf.GGUFWriter) -> None:
    tokens, scores, types = _tokens()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
