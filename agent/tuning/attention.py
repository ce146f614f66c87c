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
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    shared = _bounds[1]
    parts = []
    for start, end in pairwise(_bounds):
        before = shared if start else 0
        told = torch.cat([key[:, :, :before], key[:, :, start:end]], dim=2)
        read = torch.cat([value[:, :, :before], value[:, :, start:end]], dim=2)
        earlier = torch.ones(end - start, end - start, dtype=torch.bool, device=query.device).tril()
        allowed = torch.cat([earlier.new_ones(end - start, before), earlier], dim=1)
        # Written out: on a processor torch's own kernel takes several times as long for so few queries and a mask.
        scores = (query[:, :, start:end] @ told.transpose(2, 3)).float() * scaling
        odds = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
        parts.append(odds.to(read.dtype) @ read)
    return torch.cat(parts, dim=2).transpose(1, 2), None
