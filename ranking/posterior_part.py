"""What the posterior of a taste says as a part of the fused ranker (:mod:`.fused_ranker`).

*The part itself.* What was chosen and what was turned away from move one taste together, as
:class:`.posterior_ranker.PosteriorRanker` has it: a refusal that the choices made likely says more than one they did
not. Each entry's share of the score is exact, so that what was turned away from has the multiplier that it has in the
other parts, which is never below 0.

*What statements imply.* An item that a stated taste names is lifted or lowered by the match with it
(:mod:`.tastes`, the part ``tastes``), which is obeyed whatever the log says. For the others it is a pseudo-observation
of the taste: who wants crime is expected to want what goes with crime. No statement counts twice for an item: one that
fits it to the degree f has f of its say through the match and 1 - f through the posterior. What it implies is a part of
its own, ``implied``, in standard deviations of what tastes differ by times the posterior's multiplier; an item that is
like the mean of all gets 0.

*Exploring.* A taste is drawn from the posterior, statements included, with its variance times the dial (Thompson 1933;
Chapelle & Li 2011; 0 is the mean). What an item gets from the draw beyond the mean is the part ``explore``, on the same
scale: it is small where much is known, and for somebody unknown at the dial's end about as large as what the posterior
would say of somebody known. The other parts stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ._scale import mean_and_spread
from .history import History
from .posterior_ranker import PosteriorRanker
from .tastes import TasteMatches

#: Names of the parts: of the fused model, and of what is laid over it.
POSTERIOR = "posterior"
IMPLIED = "implied"
EXPLORE = "explore"


@dataclass(frozen=True, slots=True)
class Explore:
    """How far a list explores.

    Raises:
        UserError: the dial is not in [0, 1].
        ValueError: a seed below 0.
    """

    dial: float = 0.0
    """In [0, 1], what the variance of the draw is multiplied by: 0 is what is expected, 1 Thompson's rule."""

    seed: int = 0
    """Of the draw: the same seed draws the same taste from what is known."""

    def __post_init__(self) -> None:
        if not 0 <= self.dial <= 1:
            raise UserError(f"explore must be from 0 to 1, not {self.dial:g}")
        if self.seed < 0:
            raise ValueError(f"a seed is not below 0, as {self.seed} is")

    @property
    def off(self) -> bool:
        """Whether it changes nothing."""
        return self.dial == 0


@dataclass(frozen=True, eq=False)
class Together:
    """What choices and refusals say together.

    Attributes:
        values: (n_items,) float32, added to the score.
        factor: what shares are multiplied by: 1 / the spread of the scores; 0 where all are alike.
    """

    values: NDArray[np.float32]
    factor: float


def together(
    part: PosteriorRanker,
    history: History,
    gates: NDArray[np.float32],
    against: NDArray[np.float32],
    seen: NDArray[np.bool_],
) -> Together:
    """What the part adds to each item's score.

    Args:
        part: one that leaves out what is popular.
        history: choices and refusals.
        gates: (n_items,) the part's multiplier. against: (n_items,) not below 0, that of refusals.
        seen: (n_items,) what the user knows: the scale is that of the others.
    """
    moves, away = part.moves(history), history.behaviour < 0
    chosen, refused = part.along(moves[~away].sum(axis=0)), part.along(moves[away].sum(axis=0))
    mean, _ = mean_and_spread(chosen[None], seen[None])
    _, spread = mean_and_spread((chosen + refused)[None], seen[None])
    factor = 1 / float(spread[0, 0])
    values = gates * ((chosen - mean[0]) * factor).astype(np.float32)
    if away.any():
        values += against * (refused * np.float64(factor)).astype(np.float32)
    return Together(values, factor)


def implied(
    part: PosteriorRanker, history: History, tastes: TasteMatches, gates: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(t, n_items): what each stated taste adds to the items by what goes with what it names.

    Args:
        gates: (n_items,) the part's multiplier; where it is below 0 nothing is added.
    """
    found = np.zeros((len(tastes.refs), part.n_items), dtype=np.float32)
    stated = []
    for at in range(len(tastes.refs)):
        thread = tastes.thread_of(at)
        one = part.statement(tastes, at, thread=thread)
        if one is not None and thread in (None, tastes.thread):
            stated.append((at, one))
    if not stated or not part.usual:
        return found
    positive = np.maximum(gates, 0) / np.float32(part.usual)
    for (at, _), move in zip(stated, part.implied(history, [one for _, one in stated]), strict=True):
        found[at] = part.apart(move) * positive * (1 - np.abs(tastes.signed[at]))
    return found


def explored(
    part: PosteriorRanker,
    history: History,
    tastes: TasteMatches | None,
    gates: NDArray[np.float32],
    explore: Explore,
) -> NDArray[np.float32]:
    """(n_items,): what a drawn taste gives each item beyond the expected one.

    Args:
        gates: (n_items,) the part's multiplier; where it is below 0 nothing is added.
    """
    if explore.off or not part.usual:
        return np.zeros(part.n_items, dtype=np.float32)
    stated = [] if tastes is None else part.statements(tastes)
    state = part.state(history, stated=stated, thread=None if tastes is None else tastes.thread)
    drawn = state.sample(np.random.default_rng(explore.seed), explore.dial)
    found: NDArray[np.float32] = part.apart(drawn - state.mean) * np.maximum(gates, 0) / np.float32(part.usual)
    return found
