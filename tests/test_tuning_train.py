"""Packs, the loss, and training that goes on where it was stopped."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent.tuning.packing import Tokens, pack, packs
from llm4rec.agent.tuning.train import LAYERS, Recipe, adapted, forget_run, loss_of, plan_of, schedule, train
from llm4rec.errors import UserError

peft = pytest.importorskip("peft", reason="needs the extra llm4rec[tune]")

SYSTEM = tuple(range(5, 25))


def some(count: int, seed: int = 0) -> list[Tokens]:
    rng = Random(seed)
    return [
        Tokens(
            SYSTEM,
            tuple(rng.choices(range(5, 90), k=rng.randint(1, 12))),
            tuple(rng.choices(range(5, 90), k=rng.randint(1, 6))),
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from llm4rec.agent.tuning.base import read_base

    return read_base(tiny_llama.write(tmp_path_factory.mktemp("model") / "tiny.gguf", precise=True))


# -- packs ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 1000), st.integers(8, 60))
@settings(max_examples=40, deadline=None)
def test_packs_hold_every_example_once(count: int, seed: int, room: int) -> None:
    examples = some(count, seed)
    found = packs(examples, Random(seed), room=room)
    assert sum(one.examples for one in found) == count
    for one in found:
        assert one.examples == 1 or len(one.ids) - len(SYSTEM) <= room
        bounds = one.bounds()
        assert bounds[1] == len(SYSTEM)
        assert len(bounds) == one.examples + 2
    assert sum(len(one.targets) for one in found) == sum(len(example.answer) for example in examples)
    counted = sum(one.weights.sum() for one in found)
    assert counted == pytest.approx(sum(len(example.answer) ** 0.5 for example in examples), rel=1e-5)


def test_a_pack_shares_one_system_text() -> None:
    with pytest.raises(ValueError, match="one system text"):
        pack([Tokens((1,), (2,), (3,)), Tokens((2,), (2,), (3,))])


def test_the_rate_rises_and_falls() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]
    assert shares[9] == 1.0
    assert shares[0] == pytest.approx(0.1)
    assert shares[-1] == pytest.approx(0.1, abs=0.01)
    assert all(later <= earlier for earlier, later in pairwise(shares[9:]))


# -- training ---------------------------------------------------------------------------------------------------


def test_examples_of_a_pack_do_not_see_each_other(base: Any) -> None:
    """The loss of a pack is the sum of those of its examples, each read alone by transformers' own attention."""
    import torch

    examples = some(5)
    model = adapted(copy.deepcopy(base), Recipe(half=False))
    packed = float(loss_of(model, pack(examples)).detach())
    model.get_base_model().set_attn_implementation("eager")
    alone = 0.0
    for one in examples:
        ids = torch.tensor([[*one.system, *one.prompt, *one.answer]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0]
        told = len(one.answer)
        mean = float(torch.nn.functional.cross_entropy(logits[-told - 1 : -1], torch.tensor(one.answer)))
        alone += told**0.5 * mean
    assert packed == pytest.approx(alone, rel=1e-4)


def test_the_change_of_a_layer_is_computed_as_peft_computes_it(base: Any) -> None:
    """Values and gradients, of a model whose change is not nothing, with peft's own forward beside."""
    import torch
    from peft import LoraConfig, get_peft_model

    recipe = Recipe(half=False)
    fused = adapted(copy.deepcopy(base), recipe)
    plain = get_peft_model(
        copy.deepcopy(base), LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(LAYERS))
    )
    made = torch.Generator().manual_seed(3)
    ours, theirs = dict(fused.named_parameters()), dict(plain.named_parameters())
    assert ours.keys() == theirs.keys()
    with torch.no_grad():
        for name in ours:
            if "lora" in name:
                theirs[name].copy_(ours[name].copy_(0.3 * torch.randn(ours[name].shape, generator=made)))
    ids = torch.tensor([[*SYSTEM, *range(5, 40)]])
    losses = []
    for model in (fused, plain):
        model.set_attn_implementation("eager")
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name in ours:
        if "lora" in name:
            torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-3, atol=1e-6)
            assert float(ours[name].grad.abs().max()) > 0


def test_a_layer_with_a_bias_is_not_computed_in_one_step() -> None:
    import torch
    from llm4rec.agent.tuning.fused import fuse
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), LoraConfig(target_modules=["0"]))
    with pytest.raises(ValueError, match="without bias"):
        fuse(model)


def test_a_model_learns_what_it_is_told(base: Any, tmp_path: Path) -> None:
    examples = some(24)
    recipe = Recipe(rate=1e-2, passes=12, batch=8, room=100, half=False)
    model = adapted(copy.deepcopy(base), recipe)
    losses: list[float] = []
    plan = plan_of(examples, recipe)
    train(model, plan, recipe, folder=tmp_path, key="k", told=lambda _step, _steps, loss: losses.append(loss))
    assert losses[-1] < 0.5 * losses[0]
    assert all("lora" in name for name, value in model.named_parameters() if value.requires_grad)


def test_a_damaged_state_is_told_of(base: Any, tmp_path: Path) -> None:
    recipe = Recipe(batch=4, room=100, half=False)
    plan = plan_of(some(4), recipe)
    train(adapted(copy.deepcopy(base), recipe), plan, recipe, folder=tmp_path, key="k")
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"is damaged .* delete it"):
        train(adapted(copy.deepcopy(base), recipe), plan, recipe, folder=tmp_path, key="k")


def test_a_stopped_training_comes_to_the_same_adapter(base: Any, tmp_path: Path) -> None:
    import torch

    class Stop(Exception):
        pass

    def stop(step: int, _steps: int, _loss: float) -> None:
        if step == 5:
            raise Stop

    examples = some(20)
    recipe = Recipe(passes=3, batch=6, room=80, half=False)
    plan = plan_of(examples, recipe)
    assert len(plan.steps) > 6
    whole = adapted(copy.deepcopy(base), recipe)
    train(whole, plan, recipe, folder=tmp_path / "whole", key="k")
    stopped = adapted(copy.deepcopy(base), recipe)
    with pytest.raises(Stop):
        train(stopped, plan, recipe, folder=tmp_path / "stopped", key="k", told=stop, keep_every=2)
    steps: list[int] = []
    resumed = adapted(copy.deepcopy(base), recipe)
    train(resumed, plan, recipe, folder=tmp_path / "stopped", key="k", told=lambda step, _n, _l: steps.append(step))
    assert steps[0] == 5  # four were kept
    expected = dict(whole.named_parameters())
    for name, value in resumed.named_parameters():
        assert torch.allclose(value, expected[name], atol=1e-6), name
    other: list[int] = []
    anew = adapted(copy.deepcopy(base), recipe)
    train(anew, plan, recipe, folder=tmp_path / "stopped", key="other", told=lambda step, _n, _l: other.append(step))
    assert other[0] == 1
    forget_run(tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
