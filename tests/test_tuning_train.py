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
from llm4rec.agent.tuning.train import Recipe, adapted, forget_run, loss_of, plan_of, schedule, train
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
        assert one.weights.sum() == pytest.approx(one.examples, rel=1e-5)
        assert one.examples == 1 or len(one.ids) - len(SYSTEM) <= room
        bounds = one.bounds()
        assert bounds[1] == len(SYSTEM)
        assert len(bounds) == one.examples + 2
    assert sum(len(one.targets) for one in found) == sum(len(example.answer) for example in examples)


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
        alone += float(torch.nn.functional.cross_entropy(logits[-told - 1 : -1], torch.tensor(one.answer)))
    assert packed == pytest.approx(alone, rel=1e-4)


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
