"""An adapter's way: trained in peft, written as GGUF, applied by llama.cpp at run time, merged into a copy."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tiny_llama
from llm4rec.agent import merging, weights
from llm4rec.agent._gguf import read_header
from llm4rec.agent.engine import Account, Engine
from llm4rec.agent.tuning import adapter as writing
from llm4rec.agent.tuning.adapter import LAYERS, TARGETS, read_into, rotary_order, transformers_order, write_adapter
from llm4rec.agent.tuning.base import read_base
from llm4rec.errors import MissingExtra, UserError
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

#: Largest difference of logits between peft and llama.cpp that rounding may make.
CLOSE = 0.05
PROMPTS = (
    "find a film like the book about history",
    "rate one and two",
    "the name of the movie is null, search false limit true; and then find the arguments of the query 1234567890",
)


def tuned(base: Any, *, rank: int = 4, alpha: int = 8, size: float, seed: int = 0) -> Any:
    """A model with a random LoRA on all its matrices: the weights of B are drawn with standard deviation ``size``."""
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), lora_dropout=0.0, bias="none")
    model = peft.get_peft_model(base, config)
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            wide = parameter.shape[1] ** -0.5 if "lora_A" in name else size
            parameter.data = torch.randn(parameter.shape, generator=draw) * wide
    return model.eval()


def theirs(model: Any, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Logits of transformers at every place, shape (tokens, vocabulary)."""
    with torch.no_grad():
        found: NDArray[np.float32] = model(torch.tensor([list(tokens)])).logits[0].float().numpy()
    return found


def ours(engine: Engine, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Logits of llama.cpp at every place, shape (tokens, vocabulary); -inf for the control tokens that are barred."""
    found = []
    for end in range(1, len(tokens) + 1):
        list(engine.generate(tokens[:end], max_tokens=1, account=Account(), check=lambda: None))
        found.append(engine.logits().copy())
    return np.array(found)


def gap(some: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest difference, where neither is barred."""
    seen = np.isfinite(some) & np.isfinite(other)
    assert seen.mean() > 0.99
    return float(np.abs(some[seen] - other[seen]).max())


def off(some: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Root of the mean squared difference, where neither is barred."""
    seen = np.isfinite(some) & np.isfinite(other)
    return float(np.sqrt(np.mean((some[seen] - other[seen]) ** 2)))


def largest(model: Any, engine: Engine, prompts: Sequence[str] = PROMPTS) -> float:
    """Largest difference of the logits of a model and an engine, over all places of all prompts."""
    read = [engine.prompt(text) for text in prompts]
    return max(gap(theirs(model, tokens), ours(engine, tokens)) for tokens in read)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, four heads and two of keys and values, in F32."""
    return tiny_llama.write(tmp_path_factory.mktemp("base") / "tiny.gguf", precise=True)


@pytest.fixture(scope="module")
def model(base: Path) -> Any:
    return tuned(read_base(base), size=0.3)


@pytest.fixture(scope="module")
def lora(base: Path, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "random.gguf"
    write_adapter(path, model, base=base, alpha=8, recipe="random", seeds=(0,))
    return path


@pytest.fixture
def engines() -> Iterator[Any]:
    """Makes engines, and closes them afterwards."""
    opened: list[Engine] = []

    def make(path: Path, adapter: Path | None = None) -> Engine:
        opened.append(Engine(path, n_ctx=512, slots=1, adapter=adapter))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


# ---- from peft to llama.cpp ---------------------------------------------------------------------------------


def test_transformers_and_llama_cpp_read_the_same_model(base: Path, engines: Any) -> None:
    assert largest(read_base(base), engines(base)) < CLOSE


def test_an_adapter_does_the_same_in_both(base: Path, model: Any, lora: Path, engines: Any) -> None:
    assert largest(model, engines(base, lora)) < CLOSE
    assert largest(model, engines(base)) > 20 * CLOSE  # it does something


@pytest.mark.parametrize("layer", ["self_attn.q_proj", "self_attn.k_proj"])
def test_without_its_rows_put_back_an_adapter_is_another(
    layer: str, base: Path, tmp_path: Path, engines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tuned(read_base(base), size=0.3, seed=1)
    state = {key: value for key, value in peft.get_peft_model_state_dict(model).items() if layer in key}
    for name, parameter in model.named_parameters():
        if "lora_" in name and layer not in name:
            parameter.data.zero_()
    write_adapter(tmp_path / "right.gguf", state, base=base, alpha=8, recipe="random")
    assert largest(model, engines(base, tmp_path / "right.gguf")) < CLOSE
    monkeypatch.setattr(writing, "rotary_order", lambda rows, heads: rows)
    write_adapter(tmp_path / "wrong.gguf", state, base=base, alpha=8, recipe="random")
    assert largest(model, engines(base, tmp_path / "wrong.gguf")) > 2 * CLOSE


def test_rows_of_a_head_take_turns() -> None:
    rows = np.arange(12).reshape(12, 1)
    assert rotary_order(rows, 2).ravel().tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert rotary_order(rows, 1).ravel().tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    for heads in (1, 2, 3):
        assert np.array_equal(transformers_order(rotary_order(rows, heads), heads), rows)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_adapter_does_the_same_on_the_bundled_model(tmp_path: Path, engines: Any) -> None:
    bundled = weights.bundled_path()
    whole = tmp_path / "whole.gguf"
    merging.quantize(bundled, whole, "F16")
    model = tuned(read_base(whole), rank=16, alpha=32, size=0.01)
    write_adapter(tmp_path / "lora.gguf", model, base=bundled, alpha=32, recipe="random", seeds=(0,))
    said = ["something tense set on a submarine", "<|im_start|>user\nwhy the second one?<|im_end|>\n<|im_start|>"]
    assert largest(model, engines(whole, tmp_path / "lora.gguf"), said) < CLOSE
    assert largest(model, engines(whole), said) > 20 * CLOSE


def test_an_adapter_that_is_read_again_is_the_same(base: Path, model: Any, lora: Path, tmp_path: Path) -> None:
    again = tuned(read_base(base), size=0.0, seed=5)
    read_into(again, lora, base=base)
    kept = dict(model.named_parameters())
    for name, value in again.named_parameters():
        if "lora_" in name:
            torch.testing.assert_close(value, kept[name], rtol=1e-3, atol=1e-3)
    write_adapter(tmp_path / "again.gguf", again, base=base, alpha=8, recipe="random", seeds=(0,))
    tensors = [gguf.GGUFReader(path).tensors for path in (lora, tmp_path / "again.gguf")]
    assert all(np.array_equal(one.data, other.data) for one, other in zip(*tensors, strict=True))


def test_an_adapter_of_another_rank_is_not_gone_on_from(base: Path, lora: Path) -> None:
    with pytest.raises(UserError, match="another rank"):
        read_into(tuned(read_base(base), rank=2, size=0.0), lora, base=base)
    with pytest.raises(UserError, match="alpha 8, not 16"):
        read_into(tuned(read_base(base), alpha=16, size=0.0), lora, base=base)


# ---- the file -----------------------------------------------------------------------------------------------


def test_the_file_says_what_it_is(base: Path, lora: Path, model: Any, tmp_path: Path) -> None:
    found = merging.read_adapter(lora)
    assert (found.architecture, found.alpha, found.base_name) == ("llama", 8.0, "tiny.gguf")
    assert found.base_sha256 == weights.sha256(base)
    assert len(found.adapted) == 2 * len(LAYERS)
    assert len(found.tensors) == 2 * len(found.adapted)
    values = read_header(lora).values
    assert (values["llm4rec.recipe"], values["llm4rec.seeds"]) == ("random", "0")
    read = gguf.GGUFReader(str(lora))
    assert {tensor.tensor_type.name for tensor in read.tensors} == {"F16"}
    for tensor in read.tensors:  # our reader finds the tensors where gguf's own does
        ours = found.tensors[tensor.name]
        assert (list(ours.shape), ours.offset) == (list(tensor.shape[::-1]), tensor.data_offset)
    again = tmp_path / lora.name
    write_adapter(again, model, base=base, alpha=8, recipe="random", seeds=(0,))
    assert again.read_bytes() == lora.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [lora.name]


def test_a_writer_that_fails_leaves_the_old_file(
    base: Path, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lora.gguf"
    path.write_bytes(b"old")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_adapter(path, model, base=base, alpha=8, recipe="random")
    assert [p.name for p in tmp_path.iterdir()] == ["lora.gguf"]
    assert path.read_bytes() == b"old"


def test_what_cannot_be_an_adapter(base: Path, model: Any, tmp_path: Path) -> None:
    state = dict(peft.get_peft_model_state_dict(model))
    key = next(iter(state))

    def refused(lora: Any, alpha: float = 8) -> str:
        with pytest.raises(UserError) as caught:
            write_adapter(tmp_path / "lora.gguf", lora, base=base, alpha=alpha, recipe="random")
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    assert "trained with alpha 8, not 16" in refused(model, 16)
    assert "lm_head.lora_A.weight: is no LoRA" in refused({**state, "lm_head.lora_A.weight": state[key]})
    assert "lacks one half" in refused({k: v for k, v in state.items() if k != key})
    assert "lacks one half" in refused({})
    assert "no number in 16 bits" in refused({**state, key: state[key] * 1e9})
    assert "does not fit tiny.gguf" in refused({**state, key: state[key][:, :-1]})
    assert "is there twice" in refused({**state, key.replace(".weight", ".other.weight"): state[key]})
    rslora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(TARGETS), use_rslora=True)
    assert "use_rslora" in refused(peft.get_peft_model(read_base(base), rslora))


def test_only_a_llama_can_be_tuned(base: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(str(other), "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"other\.gguf: is of the type model and the architecture gpt2; only"):
        read_base(other)
    with pytest.raises(UserError, match=r"random\.gguf: is of the type adapter"):
        read_base(lora)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(base.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"cut\.gguf: transformers cannot read this model"):
        read_base(cut)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"llm4rec\[tune\]"):
        read_base(base)


# ---- merged -------------------------------------------------------------------------------------------------


def test_merged_is_what_was_applied(base: Path, lora: Path, model: Any, tmp_path: Path, engines: Any) -> None:
    """The sum is exact; in Q8_0 it is no further off than the adapter on the plain weights in Q8_0 (both rms 0.07)."""
    merged = tmp_path / "merged.gguf"
    merging.merge(base, merging.read_adapter(lora), merged)
    plain = tmp_path / "plain.gguf"
    merging.quantize(base, plain, "Q8_0")
    assert read_header(merged).quantization == "Q8_0"
    assert read_header(merged).tensors == read_header(plain).tensors
    whole = tmp_path / "whole.gguf"
    merging.quantize(base, whole, "F16")
    merging.add(merging.read_adapter(lora), whole)
    in_one, beside, exact, summed = engines(merged), engines(plain, lora), engines(base, lora), engines(whole)
    for text in PROMPTS:
        tokens = exact.prompt(text)
        true = ours(exact, tokens)
        assert gap(ours(summed, tokens), true) < CLOSE
        assert off(ours(in_one, tokens), true) < 0.2
        assert off(ours(in_one, tokens), true) < 1.5 * off(ours(beside, tokens), true)
    assert largest(model, engines(plain)) > 1


def random_state(base: Path, *, rank: int, size: float, seed: int = 0) -> dict[str, Any]:
    """The state of a random LoRA on all matrices of a model, from the shapes in its header."""
    draw = torch.Generator().manual_seed(seed)
    tensors = read_header(base).tensors
    state = {}
    for name, tensor in tensors.items():
        _, _, rest = name.partition("blk.")
        layer, _, kind = rest.removesuffix(".weight").partition(".")
        for theirs, known in LAYERS.items():
            if kind == known:
                place = f"model.layers.{layer}.{theirs}"
                rows, columns = tensor.shape
                state[f"{place}.lora_A.weight"] = torch.randn(rank, columns, generator=draw) * columns**-0.5
                state[f"{place}.lora_B.weight"] = torch.randn(rows, rank, generator=draw) * size
    return state


def answer(engine: Engine, tokens: Sequence[int], count: int) -> tuple[list[int], NDArray[np.float32]]:
    """The likeliest tokens after a prompt, and the logits at its end."""
    list(engine.generate(tokens, max_tokens=1, account=Account(), check=lambda: None))
    logits = engine.logits().copy()
    steps = engine.generate(tokens, max_tokens=count, account=Account(), check=lambda: None)
    return [step.token for step in steps], logits


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_merged_and_applied_agree_on_the_bundled_model(tmp_path: Path, engines: Any) -> None:
    """In Q8_0 both are rounded, after the sum or before it: merged is no further from F16 (the rms difference of the
    logits is about 0.25, their standard deviation 3), and the answers are the same until a near tie."""
    bundled = weights.bundled_path()
    state = random_state(bundled, rank=16, size=0.01)
    write_adapter(tmp_path / "lora.gguf", state, base=bundled, alpha=32, recipe="random", seeds=(0,))
    lora, merged, plain, whole = (tmp_path / f"{name}.gguf" for name in ("lora", "merged", "plain", "whole"))
    merging.merge(bundled, merging.read_adapter(lora), merged)
    merging.quantize(bundled, plain, "Q8_0")
    merging.quantize(bundled, whole, "F16")
    exact = engines(whole, lora)
    in_one, beside = engines(merged), engines(plain, lora)
    same = total = 0
    for text in ("The capital of France is", "Once upon a time", "Find me a film about a submarine."):
        tokens = exact.prompt(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
        (said, logits), (also, other) = answer(in_one, tokens, 12), answer(beside, tokens, 12)
        true = answer(exact, tokens, 1)[1]
        assert off(logits, true) < 0.5
        assert off(logits, true) < 1.5 * off(other, true)
        same += next((at for at, (one, two) in enumerate(zip(said, also, strict=False)) if one != two), len(said))
        total += len(said)
    assert same > 0.6 * total


def test_what_cannot_be_merged(base: Path, lora: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged.gguf"

    def refused(path: Path) -> str:
        with pytest.raises(UserError) as caught:
            merging.merge(base, merging.read_adapter(path), target)
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.glob(".making-*"))
        assert not target.exists()
        return str(caught.value)

    def damaged(name: str, *swaps: tuple[bytes, bytes]) -> Path:
        content = lora.read_bytes()
        for old, new in swaps:
            assert old in content
            content = content.replace(old, new, 1)
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    assert "is no LoRA adapter (its type is not given)" in refused(base)
    assert "is no LoRA adapter" in refused(damaged("a.gguf", (b"lora", b"lore")))
    wide = tiny_llama.write_adapter(tmp_path / "wide.gguf", size=0.5, width=128)
    assert "does not fit tiny.gguf: blk.0.attn_q.weight is (64, 64)" in refused(wide)
    assert "is no half of a pair" in refused(damaged("b.gguf", (b"attn_q.weight.lora_a", b"attn_x.weight.lora_a")))
    both = [(b"blk.0.attn_q.weight" + half, b"blk.7.attn_q.weight" + half) for half in (b".lora_a", b".lora_b")]
    assert "has no blk.7.attn_q.weight" in refused(damaged("c.gguf", *both))
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(lora.read_bytes()[:-3000])
    assert "cut.gguf: is cut off in blk.1." in refused(cut)
    huge = tiny_llama.write_adapter(tmp_path / "huge.gguf", size=1e9)
    assert "is not finite" in refused(huge)
    strange = damaged("d.gguf", (b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lemma"))
    assert "for the architecture lemma" in refused(strange)
