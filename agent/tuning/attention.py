"""Attention within a pack: each conversation looks at the system text and at itself, and no pair more is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: What transformers knows it by.
NAME = "llm4rec_packed"

_bounds: Sequence[int] = ()


@contextmanager
def packed(bounds: Sequence[int]) -> Iterator[None]:
    """Within it, models that were made to :func:`attend` read one pack, whose segments lie between ``bounds``."""
    global _bounds
    before, _bounds = _bounds, bounds
    try:
        yield
    finally:
        _bounds = before


def use(model: Any) -> None:
    """Let a model of transformers attend in this way from now on."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention of one pack.

    Args:
        query: (1, heads, n, d). key, value: (1, heads of keys, n, d), each for several heads of queries.
        attention_mask: not looked at.

    Returns:
        (1, n, heads, d).
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    sizes = [end - start for start, end in pairwise(_bounds)]
    heads, width = key.shape[1], query.shape[3]
    # Heads of queries that share a head of keys are laid below each other: keys and values are not repeated.
    queries = torch.split(query * scaling, sizes, dim=2)
    keys, values = torch.split(key, sizes, dim=2), torch.split(value, sizes, dim=2)
    parts = []
    for number, size in enumerate(sizes):
        told = keys[number] if not number else torch.cat([keys[0], keys[number]], dim=2)
        read = values[number] if not number else torch.cat([values[0], values[number]], dim=2)
        asked = queries[number].reshape(1, heads, groups * size, width)
        before = told.shape[2] - size
        hidden = torch.ones(size, size, dtype=torch.bool, device=query.device).triu(1)
        hidden = torch.cat([hidden.new_zeros(size, before), hidden], dim=1).repeat(groups, 1)
        # Written out: on a processor torch's own kernel takes several times as long for so few queries and a mask.
        odds = (asked @ told.transpose(2, 3)).masked_fill(hidden, -torch.inf).float().softmax(dim=-1)
        parts.append((odds.to(read.dtype) @ read).reshape(1, heads * groups, size, width))
    return torch.cat(parts, dim=2).transpose(1, 2), None
