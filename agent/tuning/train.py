"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of a small model to the corpus, on a processor or a GPU.

The loss is on the answers alone, an example counting the root of its answer's length. What a run has learned is kept
every few steps: a run that is stopped goes on where it was, and comes to the same adapter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from .attention import packed, use
from .fused import fuse
from .packing import Pack, Tokens, packs

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

#: The linear layers of a llama block, all of which are adapted.
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

#: File of a run's state.
STATE = "state.safetensors"

#: Told the step, how many there are, and the mean loss of a token in it.
Told = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an adapter is trained."""

    rank: int = 16
    """Of the two factors of each layer's change."""

    alpha: int = 32
    """The change is scaled by ``alpha / rank``."""

    rate: float = 8e-4
    """Learning rate (AdamW) at its highest."""

    warmup: float = 0.05
    """Share of the steps over which the rate rises; then it falls as a cosine to a tenth."""

    batch: int = 16
    """Examples a step, about."""

    passes: float = 1.0
    """Over the examples."""

    room: int = 1024
    """Tokens of examples read at once, beside the system text they share."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    seed: int = 0
    """Of the first factors and of the order of the examples."""

    half: bool = True
    """Whether the frozen weights are held in bfloat16; the adapter is trained in float32 either way."""

    def __post_init__(self) -> None:
        if min(self.rank, self.alpha, self.batch, self.room) < 1 or not (self.rate > 0 and self.passes > 0):
            raise ValueError("rank, alpha, batch and room are at least 1, rate and passes above 0")


@dataclass(frozen=True)
class Plan:
    """What a training reads, in order: packs, several a step."""

    steps: tuple[tuple[Pack, ...], ...]

    @property
    def examples(self) -> int:
        return sum(pack.examples for step in self.steps for pack in step)


def plan_of(tokens: Sequence[Tokens], recipe: Recipe) -> Plan:
    """The order of a training: each pass over all examples in packs of its own."""
    rng = Random(recipe.seed)
    wanted = max(1, round(recipe.passes * len(tokens)))
    steps: list[tuple[Pack, ...]] = []
    step: list[Pack] = []
    taken = 0
    while taken < wanted:
        for one in packs(tokens, rng, room=recipe.room):
            if taken >= wanted:
                break
            step.append(one)
            taken += one.examples
            if sum(pack.examples for pack in step) >= recipe.batch:
                steps.append(tuple(step))
                step = []
    if step:
        steps.append(tuple(step))
    return Plan(tuple(steps))


def adapted(base: Module, recipe: Recipe) -> Any:
    """The base with an adapter that changes nothing yet, as peft makes it; the base itself is frozen."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    use(base)
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=list(LAYERS))
    model = get_peft_model(base, config)
    fuse(model)
    return model


def train(
    model: Any,
    plan: Plan,
    recipe: Recipe,
    *,
    folder: Path,
    key: str,
    told: Told = lambda _step, _steps, _loss: None,
    keep_every: int = 20,
) -> None:
    """Train the adapter of a model, going on from what ``folder`` holds of the same run.

    Args:
        model: as :func:`adapted` gives it; trained in place.
        plan: what it reads. recipe: how.
        folder: for the state of the run.
        key: names data and base; a state of another key, plan or recipe is not gone on from.
        told: of every step.
        keep_every: steps after which the state is written.

    Raises:
        UserError: what ``folder`` holds is damaged.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=recipe.rate, weight_decay=0.0)
    name = sha256(json.dumps([key, asdict(recipe), plan.examples, len(plan.steps)]).encode()).hexdigest()
    start = _resumed(folder, name, trained, optimizer)
    model.train()
    for number in range(start, len(plan.steps)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * schedule(number, len(plan.steps), recipe.warmup)
        step = plan.steps[number]
        whole = float(sum(pack.weights.sum() for pack in step))
        total = 0.0
        for pack in step:
            loss = loss_of(model, pack) / whole
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(list(trained.values()), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        told(number + 1, len(plan.steps), total)
        if (number + 1) % keep_every == 0 or number + 1 == len(plan.steps):
            _keep(folder, name, number + 1, trained, optimizer)
    model.eval()


def schedule(step: int, steps: int, warmup: float) -> float:
    """The share of the highest rate at a step: up a line, down a cosine to a tenth."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    along = (step - rising) / max(1, steps - rising)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * along))


def loss_of(model: Any, pack: Pack) -> Tensor:
    """The sum of the negative log-likelihoods of a pack's answers, token by token, as its weights say."""
    import torch

    inner = model.get_base_model()
    device = next(model.parameters()).device
    with packed(pack.bounds()):
        hidden = inner.model(
            input_ids=torch.from_numpy(pack.ids).to(device)[None],
            position_ids=torch.from_numpy(pack.positions).to(device)[None],
            attention_mask=torch.ones(1, 1, 1, 1, device=device),  # of four dimensions: no mask is made
            use_cache=False,
        ).last_hidden_state[0]
    # The largest layer is asked about the answers alone.
    logits = inner.lm_head(hidden[torch.from_numpy(pack.places).to(device)]).float()
    each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(pack.targets).to(device), reduction="none")
    total: Tensor = (each * torch.from_numpy(pack.weights).to(device)).sum()
    return total


def mean_loss(model: Any, examples: Sequence[Pack]) -> float:
    """Of a token, as training weighs it, with nothing learned from it."""
    import torch

    with torch.no_grad():
        total = sum(float(loss_of(model, pack)) for pack in examples)
    return total / float(sum(pack.weights.sum() for pack in examples))


def forget_run(folder: Path) -> None:
    """Remove what a finished run kept, and its folder if nothing else is in it."""
    (folder / STATE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _keep(folder: Path, name: str, step: int, trained: dict[str, Tensor], optimizer: Any) -> None:
    """Write the state aside, then rename it: a run killed at any moment finds the old state or the new."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"value/{key}": value.detach().cpu().contiguous() for key, value in trained.items()}
    for key, value in trained.items():
        kept = optimizer.state[value]
        tensors |= {f"{part}/{key}": kept[part].cpu().contiguous() for part in ("exp_avg", "exp_avg_sq")}
        tensors[f"step/{key}"] = kept["step"].cpu().reshape(1)
    aside = folder / "state.tmp"
    save_file(tensors, aside, metadata={"run": name, "step": str(step)})
    aside.replace(folder / STATE)


def _resumed(folder: Path, name: str, trained: dict[str, Tensor], optimizer: Any) -> int:
    """The steps that are done, with values and optimizer as they were after them; 0 for a new run."""
    import torch
    from safetensors import SafetensorError, safe_open

    path = folder / STATE
    if not path.exists():
        return 0
    try:
        opened = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise UserError(f"{path}: is damaged ({error}): delete it to begin anew") from None
    with opened as kept:
        metadata = kept.metadata() or {}
        if metadata.get("run") != name:
            return 0
        with torch.no_grad():
            for key, value in trained.items():
                value.copy_(kept.get_tensor(f"value/{key}"))
                optimizer.state[value] = {
                    "step": kept.get_tensor(f"step/{key}").reshape(()),
                    **{part: kept.get_tensor(f"{part}/{key}").to(value.device) for part in ("exp_avg", "exp_avg_sq")},
                }
        return int(metadata["step"])
