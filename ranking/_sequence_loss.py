"""Cross-entropy over all items, or over a sample of them. Imports torch: see :mod:`._sequence_net`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._sequence_batches import Batch

#: Scores in memory at once, so that they stay in the processor's cache: 2 MB.
_BLOCK = 1 << 19


def full(states: Tensor, table: Tensor, constant: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of the next items under the softmax over all items not chosen before.

    What is chosen already is not recommended again, so it is left out of the softmax: the model need not learn
    to score it low.

    Args:
        states: (n, d), the state at each place of the batch.
        table: (items, d), embeddings.
        constant: (items,), added to each item's score.
        batch: what came next, and when what was chosen (``batch.chosen`` is over all items).
    """
    chosen, past, step, targets = map(torch.from_numpy, (batch.chosen, batch.past, batch.step, batch.targets))
    loss: Tensor = _Full.apply(states, table, constant, chosen, past, step, targets)
    return loss


class _Full(torch.autograd.Function):
    """The gradient is made with the loss, block by block, so that no (n, items) array ever stands in memory."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        constant: Tensor,
        chosen: Tensor,
        past: Tensor,
        step: Tensor,
        targets: Tensor,
    ) -> Tensor:
        n, items = len(states), len(table)
        by_state, by_table, by_constant = (torch.zeros_like(one) for one in (states, table, constant))
        total = torch.zeros((), dtype=torch.float64)
        rows = max(1, _BLOCK // items)
        for start in range(0, n, rows):
            at = slice(start, min(n, start + rows))
            scores = torch.addmm(constant, states[at], table.T)
            place = (torch.arange(len(scores)), targets[at])
            found = scores[place].sum()
            scores.masked_fill_(chosen[past[at]] < step[at, None], -math.inf)
            top = scores.amax(1, keepdim=True)
            scores.sub_(top).exp_()
            mass = scores.sum(1, keepdim=True)
            total += (top + mass.log()).sum() - found
            # From here on the gradient: the softmax, less 1 at the target.
            scores.div_(mass)
            scores[place] -= 1
            torch.mm(scores, table, out=by_state[at])
            by_table.addmm_(scores.T, states[at])
            by_constant += scores.sum(0)
        ctx.save_for_backward(by_state / n, by_table / n, by_constant / n)
        return (total / n).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        by_state, by_table, by_constant = ctx.saved_tensors
        return by_state * grads[0], by_table * grads[0], by_constant * grads[0], None, None, None, None


def sampled(states: Tensor, table: Tensor, constant: Tensor, batch: Batch, drawn: Tensor, log_rate: Tensor) -> Tensor:
    """The same, with drawn items standing for the rest of the softmax's denominator.

    When m items are drawn, item j with probability q_j each time, the sum of exp(score_j) / (m q_j) over the draws
    estimates the sum of exp(score) over all items without bias. So each drawn item's score is lowered by log(m q_j)
    before the softmax (Bengio & Senecal 2008, section III; Jean et al. 2015, equation 8; Yi et al. 2019 call it the
    logQ correction). The target stands in the denominator as itself, uncorrected, and is struck out of the sample:
    its part is known. The logarithm of an unbiased sum is not unbiased, but nears the truth as m grows.

    Args:
        states, table, constant: as in :func:`full`.
        batch: ``batch.chosen`` is over the drawn items.
        drawn: (k,) int64, the different items drawn.
        log_rate: (k,) float32, log(m q_j / how often j was drawn).
    """
    chosen, past, step, targets = map(torch.from_numpy, (batch.chosen, batch.past, batch.step, batch.targets))
    wanted = (table[targets] * states).sum(-1, keepdim=True) + constant[targets, None]
    scores = torch.addmm(constant[drawn] - log_rate, states, table[drawn].T)
    ban = (chosen[past] < step[:, None]) | (drawn == targets[:, None])
    every = torch.cat([wanted, scores.masked_fill(ban, -math.inf)], dim=1)
    return (torch.logsumexp(every, dim=1, keepdim=True) - wanted).mean()
