"""Which token comes next: the model's scores, a grammar's word on them, and whole characters only."""

from __future__ import annotations

import codecs
import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Llm4RecError, TurnError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: How many of the best tokens are shown to the grammar before all that begin rightly are.
LOOKS = (1, 64)


class Rules(Protocol):
    """What says which tokens may come next."""

    def allows(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Vocabulary:
    """What choosing needs to know of the tokens.

    Attributes:
        pieces: bytes of every token; empty for control tokens.
        ends: tokens that end an answer.
        mute: tokens never chosen (control tokens that end nothing).
    """

    pieces: Sequence[bytes]
    ends: frozenset[int]
    mute: NDArray[np.int64]

    @cached_property
    def leads(self) -> NDArray[np.int16]:
        """First byte of every token, -1 where there is none; shape (n_vocab,)."""
        import numpy as np

        return np.array([piece[0] if piece else -1 for piece in self.pieces], dtype=np.int16)

    @cached_property
    def letters(self) -> NDArray[np.int32]:
        """Tokens that are one ASCII character."""
        import numpy as np

        found = {piece[0]: token for token, piece in enumerate(self.pieces) if len(piece) == 1 and piece[0] < 0x80}
        return np.array(sorted(found.values()), dtype=np.int32)


class GrammarState:
    """A GBNF grammar as it stands after the tokens accepted so far.

    Raises:
        Llm4RecError: llama.cpp cannot read the grammar.
    """

    def __init__(self, lib: Any, vocab: Any, text: str) -> None:
        import numpy as np

        self._lib = lib
        self._kind = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._sampler = lib.llama_sampler_init_grammar(vocab, text.encode("utf-8"), b"root")
        if not self._sampler:
            raise Llm4RecError(f"llama.cpp does not accept the grammar, which begins {text[:80]!r}")

    def allows(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of these tokens may come next."""
        import numpy as np

        data = np.zeros(len(tokens), dtype=self._kind)
        data["id"] = tokens
        array = self._lib.llama_token_data_array(
            data=data.ctypes.data_as(ctypes.POINTER(self._lib.llama_token_data)),
            size=len(tokens),
            selected=-1,
            sorted=False,
        )
        self._lib.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return np.asarray(data["logit"] == 0)

    def accept(self, token: int) -> None:
        """Move on. Only for a token that is allowed: llama.cpp ends the process on any other."""
        self._lib.llama_sampler_accept(self._sampler, token)

    def free(self) -> None:
        self._lib.llama_sampler_free(self._sampler)


class Chooser:
    """Chooses the tokens of one answer.

    A token is asked for only when its score makes it the next candidate, as llama.cpp's own sampler does: masking
    the whole vocabulary for every token would cost more than the model.

    Args:
        rules: what the tokens must satisfy, or None.
        vocabulary: the model's.
        temperature: 0 is greedy.
        seed: None draws anew each time.

    Attributes:
        resampled: how often the best token was refused.
    """

    def __init__(self, rules: Rules | None, vocabulary: Vocabulary, *, temperature: float, seed: int | None) -> None:
        import numpy as np

        self._rules, self._words = rules, vocabulary
        self._temperature = temperature
        self._rng = np.random.default_rng(seed) if temperature > 0 else None
        self._held = b""  # the beginning of a character whose other bytes are still to come
        self.resampled = 0

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token: the best one that is allowed, by a score whose order is the draw.

        With a temperature the score is logit / T + Gumbel noise, whose maximum over any set of tokens is an exact
        draw from the softmax over that set (Gumbel 1954; Maddison et al. 2014, "A* sampling"). So "first allowed
        in order of score" is right for greedy and for random choice, and most often the first look decides.
        Changes ``logits`` (shape (n_vocab,)) where tokens are mute.

        Raises:
            TurnError: the scores are no numbers, or nothing is allowed.
        """
        import numpy as np

        logits[self._words.mute] = -math.inf
        scores = logits
        if self._rng is not None:
            noise = self._rng.gumbel(size=len(logits)).astype(np.float32)
            scores = logits / np.float32(self._temperature) + noise
        if not math.isfinite(float(best := scores.max())):
            raise TurnError(f"the model computes no usable numbers (best score {best})")
        for look in LOOKS:
            token = self._first(_best(scores, min(look, len(scores))))
            if token is not None:
                return token
            self.resampled += look == 1
        near = self._beginners()
        token = self._first(near[np.argsort(-scores[near])])
        if token is None:
            raise TurnError("the grammar allows no token here")
        return token

    def _first(self, order: NDArray[np.int64]) -> int | None:
        """The first of these tokens that is allowed and breaks no character."""
        import numpy as np

        if self._rules is not None:
            order = order[self._rules.allows(order.astype(np.int32))]
        for token in map(int, order):
            if token in self._words.ends:
                return token
            held = unfinished(self._held + self._words.pieces[token])
            if held is not None:
                self._held = held
                return token
        return None

    def _beginners(self) -> NDArray[np.int64]:
        """Tokens that may be allowed, judged by their first byte alone.

        A token that begins with an ASCII character is allowed only if that character alone is, and most characters
        have a token of their own to ask with. All other tokens stay in.
        """
        import numpy as np

        words = self._words
        refused = np.zeros(257, dtype=bool)
        if self._rules is not None and not self._held and len(words.letters):
            asked = words.letters[~self._rules.allows(words.letters)]
            refused[words.leads[asked]] = True
        return np.flatnonzero(~refused[words.leads])


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The ``count`` highest, best first."""
    import numpy as np

    if count == 1:
        return np.array([scores.argmax()])
    near = np.argpartition(-scores, count - 1)[:count]
    return np.asarray(near[np.argsort(-scores[near])])


def unfinished(raw: bytes) -> bytes | None:
    """The bytes after the last whole character of UTF-8, or None when they can never become one."""
    try:
        return raw[codecs.utf_8_decode(raw, "strict", False)[1] :]
    except UnicodeDecodeError:
        return None
