"""Examples laid side by side, so that the constant part of their prompt is read once for all of them.

A pack is one sequence: the system text, then several conversations, each of which sees the system text and itself and
nothing of the others (see :mod:`.attention`), at the positions it would have by itself. Only what is to be answered
counts in the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """An example in tokens.

    Attributes:
        system: of the constant part. prompt: of the rest of the prompt. answer: of what is to be
            said, its end included.
    """

    system: tuple[int, ...]
    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, eq=False)
class Pack:
    """Several examples of one system text.

    Attributes:
        ids, positions: (n,) int64. segments: (n,) int64, 0 for the system text, then 1 for the first example.
        places: (t,) int64, where a token of an answer is foretold. targets: (t,) int64, which it is.
        weights: (t,) float32, so that an example counts the root of its answer's length: between counting
            examples alike, which learns long arguments late, and counting tokens alike, which learns replies
            before plans.
        examples: how many there are.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    examples: int

    def bounds(self) -> tuple[int, ...]:
        """Where the segments begin, and where the last one ends: 0, the length of the system text, ..., n."""
        changes = np.flatnonzero(np.diff(self.segments)) + 1
        return (0, *changes.tolist(), len(self.ids))


def pack(examples: Sequence[Tokens]) -> Pack:
    """One pack of examples that share their system text.

    Raises:
        ValueError: there are none, they do not share it, or one has no answer.
    """
    if not examples or len({one.system for one in examples}) != 1 or not all(one.answer for one in examples):
        raise ValueError("a pack holds one or more examples with answers, of one system text")
    system = examples[0].system
    ids, positions, segments = list(system), list(range(len(system))), [0] * len(system)
    places: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for segment, one in enumerate(examples, start=1):
        start = len(ids)
        # the last token of an answer foretells nothing
        ids += [*one.prompt, *one.answer[:-1]]
        positions += range(len(system), len(system) + len(ids) - start)
        segments += [segment] * (len(ids) - start)
        first = start + len(one.prompt) - 1
        places += range(first, first + len(one.answer))
        targets += one.answer
        weights += [len(one.answer) ** -0.5] * len(one.answer)
    return Pack(
        ids=np.array(ids),
        positions=np.array(positions),
        segments=np.array(segments),
        places=np.array(places),
        targets=np.array(targets),
        weights=np.array(weights, dtype=np.float32),
        examples=len(examples),
    )


def packs(examples: Sequence[Tokens], rng: Random, *, room: int = 1024) -> list[Pack]:
    """All examples in packs of at most ``room`` tokens beside the system text, in random order."""
    by_system: dict[tuple[int, ...], list[Tokens]] = defaultdict(list)
    for one in examples:
        by_system[one.system].append(one)
    found: list[Pack] = []
    for those in by_system.values():
        rng.shuffle(those)
        held: list[Tokens] = []
        used = 0
        for one in those:
            if held and used + len(one) > room:
                found.append(pack(held))
                held, used = [], 0
            held.append(one)
            used += len(one)
        found.append(pack(held))
    rng.shuffle(found)
    return found
