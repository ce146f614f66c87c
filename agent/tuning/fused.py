"""A linear layer and its low-rank change as one step of the computation.

peft adds the change in float32: casts, a scaling and a sum of arrays as large as the layer's output, which take several
times as long as the products themselves on a processor. Here it is added by the matrix product that makes it, in the
precision of the layer, forward and backward. Tests compare both with peft's own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor


class _Adapted(torch.autograd.Function):
    """``x W' + scale x A' B'``, of a frozen ``W``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        a, b = a.to(x.dtype), (b * scale).to(x.dtype)
        inner = rows @ a.T
        out = rows @ weight.T
        out.addmm_(inner, b.T)
        ctx.save_for_backward(rows, inner, weight, a, b)
        ctx.scale = scale
        return out.reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        rows, inner, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        back = grad @ b
        of_x = grad @ weight
        of_x.addmm_(back, a)
        of_a = (back.T @ rows).float()
        of_b = (grad.T @ inner).float() * ctx.scale
        return of_x.reshape(*grads[0].shape[:-1], -1), None, of_a, of_b, None


def fuse(model: Any) -> None:
    """Let the adapted layers of a peft model compute in this way from now on.

    Raises:
        ValueError: a layer has a bias or more than a plain low-rank change.
    """
    from peft.tuners.lora import Linear

    for layer in model.modules():
        if isinstance(layer, Linear):
            if list(layer.lora_A) != ["default"] or layer.base_layer.bias is not None:
                raise ValueError("only plain adapters of layers without bias can be computed in one step")
            layer.forward = partial(_forward, layer)


def _forward(layer: Any, x: Tensor) -> Tensor:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    out: Tensor = _Adapted.apply(x, layer.base_layer.weight, a, b, layer.scaling["default"])
    return out
