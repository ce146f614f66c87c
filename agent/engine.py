"""One GGUF model in memory, on llama.cpp's own functions: tokens in, tokens out.

llama-cpp-python's ``Llama`` class is not used, for three reasons: its keyword arguments swallow
``use_extra_bufts`` without a word, it keeps one prompt only, and it masks the whole vocabulary for every token that
a grammar rules. Here prompts live in *slots* (sequences of one context); a new prompt takes the slot that shares the
longest beginning with it, and only the rest is evaluated.
"""

from __future__ import annotations

import ctypes
import re
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TurnError, UserError
from ._sampling import Chooser, GrammarState, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Tokens evaluated between two looks at the clock. A larger chunk is hardly faster and slower to cancel.
CHUNK = 128
#: A prompt that shares less than this part with every slot takes the one that was not used for longest.
WORTH_KEEPING = 0.25

_log: deque[str] = deque(maxlen=400)
_callback: Any = None


def quiet() -> None:
    """Keep llama.cpp's log in memory instead of on the terminal. Idempotent."""
    global _callback
    import llama_cpp

    if _callback is None:

        def keep(_level: int, text: bytes, _data: Any) -> None:
            _log.append(text.decode("utf-8", errors="replace").rstrip())

        _callback = llama_cpp.llama_log_callback(keep)
        llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()


def last_complaint() -> str:
    """What llama.cpp's log says of a failure: the longest such line of its last ones, which has the reason."""
    words = re.compile(r"error|fail|invalid|missing|unknown|corrupt|unsupported", re.IGNORECASE)
    complaints = [line for line in list(_log)[-20:] if words.search(line)]
    return re.sub(r"^\w+: (error loading model: )?", "", max(complaints, key=len, default=""))


@dataclass(frozen=True)
class Step:
    """A generated token, its bytes, and whether the grammar would let the answer end here."""

    token: int
    piece: bytes
    may_end: bool


@dataclass
class Account:
    """What one answer cost. Filled while it is generated; seconds are wall clock."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    prefill_seconds: float = 0.0
    generate_seconds: float = 0.0
    resampled_tokens: int = 0
    full: bool = False

    @property
    def evaluated_tokens(self) -> int:
        """Prompt tokens that were not in the key-value cache."""
        return self.prompt_tokens - self.reused_tokens


@dataclass
class _Slot:
    number: int
    tokens: list[int] = field(default_factory=list)
    used: int = 0


class Engine:
    """A loaded model. Only one thread at a time may use it, and always the same one is best: each thread that calls
    llama.cpp gets an OpenMP pool of its own.

    Args:
        path: a GGUF file.
        n_ctx: tokens of one slot; never more than the model was trained on.
        threads: for llama.cpp.
        extra_buffers: repacked weights. Faster, and a crash on some processors: only where :mod:`llm4rec.agent.probe`
            found that they work. None leaves llama.cpp's default, for a library that has no such switch.
        slots: prompts kept side by side. Each takes the memory of ``n_ctx`` tokens.
        adapter: a LoRA adapter in GGUF, applied to the model.

    Raises:
        UserError: the file cannot be loaded, or the adapter does not fit it.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_ctx: int = 4096,
        threads: int = 2,
        extra_buffers: bool | None = False,
        slots: int = 2,
        adapter: Path | None = None,
    ) -> None:
        import llama_cpp
        import numpy as np

        quiet()
        self._lib: Any = llama_cpp
        self.name = path.name
        _log.clear()
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), self._model_params(extra_buffers))
        if not self._model:
            raise UserError(f"{path}: llama.cpp cannot load this model: {last_complaint() or 'no reason given'}")
        self.load_log = tuple(_log)
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self.n_vocab = int(self._lib.llama_vocab_n_tokens(self._vocab))
        self.n_ctx = min(n_ctx, int(self._lib.llama_model_n_ctx_train(self._model)) or n_ctx)
        params = self._lib.llama_context_default_params()
        params.n_ctx = self.n_ctx * slots
        params.n_seq_max = slots
        params.n_batch = params.n_ubatch = min(CHUNK, self.n_ctx)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = False
        self._context = self._lib.llama_init_from_model(self._model, params)
        if not self._context:
            self._lib.llama_model_free(self._model)
            raise UserError(f"{path}: llama.cpp cannot make a context of {self.n_ctx} tokens: {last_complaint()}")
        self._batch = self._lib.llama_batch_init(params.n_batch, 0, 1)
        self._chunk = int(params.n_batch)
        self._close = weakref.finalize(self, _free, self._lib, self._model, self._context, self._batch)
        self._slots = [_Slot(number) for number in range(slots)]
        self._turn = 0
        self._buffer = ctypes.create_string_buffer(256)
        pieces = tuple(map(self._piece, range(self.n_vocab)))
        silent = [token for token, piece in enumerate(pieces) if not piece]
        control = [token for token in silent if self._lib.llama_vocab_is_control(self._vocab, token)]
        ends = frozenset(token for token in silent if self._lib.llama_vocab_is_eog(self._vocab, token))
        self.control_texts = tuple(text for token in control if len(text := self._text(token)) > 1)
        self._words = Vocabulary(pieces, ends, np.array(sorted(set(control) - ends), dtype=np.int64))
        self._end_probe = np.array(sorted(ends)[:1], dtype=np.int32)
        if adapter is not None:
            self._adapt(adapter)

    def _model_params(self, extra_buffers: bool | None) -> Any:
        params = self._lib.llama_model_default_params()
        if extra_buffers is None:
            return params
        # A ctypes structure takes any attribute without a word: make sure that this one is a field of it.
        if "use_extra_bufts" not in {name for name, *_ in type(params)._fields_}:
            raise UserError("this llama-cpp-python has no use_extra_bufts: install llama-cpp-python 0.3.16 or newer")
        params.use_extra_bufts = extra_buffers
        assert params.use_extra_bufts is extra_buffers
        return params

    def _adapt(self, adapter: Path) -> None:
        loaded = self._lib.llama_adapter_lora_init(self._model, str(adapter).encode())
        if not loaded:
            raise UserError(f"{adapter}: this adapter does not fit {self.name}: {last_complaint()}")
        one = (self._lib.llama_adapter_lora_p_ctypes * 1)(loaded)
        if self._lib.llama_set_adapters_lora(self._context, one, 1, (ctypes.c_float * 1)(1.0)):
            raise UserError(f"{adapter}: llama.cpp cannot apply this adapter: {last_complaint()}")

    def close(self) -> None:
        """Give the memory back. The engine cannot be used afterwards."""
        self._close()

    # -- words ----------------------------------------------------------------------------------------------

    def metadata(self, key: str) -> str | None:
        """A string from the GGUF header, or None."""
        size = self._lib.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        self._lib.llama_model_meta_val_str(self._model, key.encode(), buffer, size + 1)
        return buffer.value.decode("utf-8", errors="replace")

    def _text(self, token: int) -> str:
        raw = self._lib.llama_vocab_get_text(self._vocab, token)
        return (raw or b"").decode("utf-8", errors="replace")

    @property
    def bos(self) -> str:
        """The text of the token that begins a prompt; empty if there is none."""
        token = self._lib.llama_vocab_bos(self._vocab)
        return self._text(token) if token >= 0 else ""

    def ends_answer(self, token: int) -> bool:
        """Whether the model ends what it says with this token."""
        return token in self._words.ends

    @property
    def eos(self) -> str:
        """The text of the token that ends an answer; empty if there is none."""
        token = self._lib.llama_vocab_eos(self._vocab)
        return self._text(token) if token >= 0 else ""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of a text. ``special``: whether control tokens written out (``<|im_end|>``) are read as such."""
        raw = text.encode("utf-8")
        size = len(raw) + 8
        tokens = (self._lib.llama_token * size)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), tokens, size, False, special)
        if count < 0:
            tokens = (self._lib.llama_token * -count)()
            count = self._lib.llama_tokenize(self._vocab, raw, len(raw), tokens, -count, False, special)
        return list(tokens[:count])

    def prompt(self, text: str) -> list[int]:
        """Tokens of a rendered prompt, with the beginning token where the model wants one and the text has none."""
        tokens = self.tokenize(text, special=True)
        bos = self._lib.llama_vocab_bos(self._vocab)
        if self._lib.llama_vocab_get_add_bos(self._vocab) and bos >= 0 and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        return tokens

    def _piece(self, token: int) -> bytes:
        buffer = self._buffer
        size = self._lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = self._lib.llama_token_to_piece(self._vocab, token, buffer, -size, 0, False)
        return buffer.raw[:size]

    # -- generation -----------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        account: Account,
        check: Callable[[], None],
        temperature: float = 0.0,
        seed: int | None = None,
        grammar: str | None = None,
        chunk: int | None = None,
    ) -> Generator[Step, None, None]:
        """Tokens after a prompt, until the model ends its answer, ``max_tokens`` are out or the slot is full.

        Every token satisfies the grammar, and all of them together are UTF-8 (llama.cpp's grammars let broken
        characters through). ``account.full`` says afterwards that the answer did not end by itself.

        Args:
            check: called before every evaluation; what it raises ends the generation.
            temperature: 0 takes the likeliest token; otherwise a draw from softmax(logits / temperature),
                renormalised over what the grammar allows.
            seed: of the draws; None draws anew each time.
            chunk: tokens of the prompt evaluated between two checks, at most; None: as many as go in one batch.

        Raises:
            TurnError: the prompt does not fit, llama.cpp fails, or the model computes no numbers.
            Llm4RecError: llama.cpp does not accept the grammar.
        """
        if len(prompt) + 1 > self.n_ctx:
            raise TurnError(f"the prompt has {len(prompt)} tokens and the model's context only {self.n_ctx}")
        account.prompt_tokens = len(prompt)
        rules = None if grammar is None else GrammarState(self._lib, self._vocab, grammar)
        chooser = Chooser(rules, self._words, temperature=temperature, seed=seed)
        slot = self._take(prompt, account)
        try:
            started = time.perf_counter()
            self._evaluate(slot, prompt[len(slot.tokens) :], check, chunk)
            account.prefill_seconds = time.perf_counter() - started
            started = time.perf_counter()
            account.full = True
            while account.generated_tokens < max_tokens and len(slot.tokens) < self.n_ctx:
                token = chooser.choose(self.logits())
                account.generated_tokens += 1
                account.resampled_tokens = chooser.resampled
                if token in self._words.ends:
                    account.full = False
                    break
                if rules is not None:
                    rules.accept(token)
                may_end = rules is not None and bool(rules.allows(self._end_probe).any())
                account.generate_seconds = time.perf_counter() - started
                yield Step(token, self._words.pieces[token], may_end)
                if account.generated_tokens < max_tokens:
                    self._evaluate(slot, [token], check)
            account.generate_seconds = time.perf_counter() - started
        finally:
            if rules is not None:
                rules.free()

    def _take(self, prompt: Sequence[int], account: Account) -> _Slot:
        """The slot for a prompt, cut back to what both share (at least one token is always evaluated)."""
        shared = {slot.number: _common(slot.tokens, prompt) for slot in self._slots}
        slot = max(self._slots, key=lambda s: (shared[s.number], -s.used))
        if shared[slot.number] < WORTH_KEEPING * len(prompt):
            slot = min(self._slots, key=lambda s: s.used)
        self._turn += 1
        slot.used = self._turn
        keep = min(shared[slot.number], len(prompt) - 1)
        memory = self._lib.llama_get_memory(self._context)
        if not self._lib.llama_memory_seq_rm(memory, slot.number, keep, -1):
            # Recurrent models cannot be cut back.
            self._lib.llama_memory_seq_rm(memory, slot.number, -1, -1)
            keep = 0
        del slot.tokens[keep:]
        account.reused_tokens = keep
        return slot

    def _evaluate(
        self, slot: _Slot, tokens: Sequence[int], check: Callable[[], None], chunk: int | None = None
    ) -> None:
        size = min(chunk or self._chunk, self._chunk)
        for start in range(0, len(tokens), size):
            check()
            part = tokens[start : start + size]
            batch = self._batch
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i] = token
                batch.pos[i] = len(slot.tokens) + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = slot.number
                batch.logits[i] = i == len(part) - 1
            failed = self._lib.llama_decode(self._context, batch)
            if failed:
                self._lib.llama_memory_seq_rm(self._lib.llama_get_memory(self._context), slot.number, -1, -1)
                slot.tokens.clear()
                raise TurnError(f"llama.cpp could not evaluate the prompt (code {failed}): {last_complaint()}")
            slot.tokens.extend(part)

    def logits(self) -> NDArray[np.float32]:
        """Of the last evaluated token, shape (n_vocab,). A view that the next evaluation overwrites."""
        import numpy as np

        pointer = self._lib.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.n_vocab,))


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common beginning."""
    shorter = min(len(left), len(right))
    for i in range(shorter):
        if left[i] != right[i]:
            return i
    return shorter


def _free(lib: Any, model: Any, context: Any, batch: Any) -> None:
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)
