"""From the corpus to an adapter file: what ``llm4rec tune`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryFile

from ...catalog.items import Catalogue
from ...catalog.readers.raw import Progress, no_progress
from ...errors import UserError
from .. import weights
from .._gguf import read_header
from ..llm import ChatLlamaCpp
from ..merging import RECIPE
from ..weights import LlmSource
from .adapter import read_into, write_adapter
from .base import read_base, require_llama, require_packages
from .examples import Example, examples
from .packing import packs
from .phrasings import read_phrasings
from .replies import reply_examples
from .tokens import tokens_of
from .train import Recipe, adapted, mean_loss, plan_of, train

#: Examples of which the loss on phrasings kept from training is told.
DEV_EXAMPLES = 240


@dataclass(frozen=True)
class Corpus:
    """What is trained on, and what is kept from it.

    Attributes:
        train, dev: examples. phrasings: how many were written for them.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    phrasings: int


@dataclass(frozen=True)
class Tuned:
    """What came of a run.

    Attributes:
        adapter: the file. base: the model file that it is for.
        phrasings, examples, tokens: what it was trained on, the tokens of all passes.
        dev_loss: mean negative log-likelihood of a token of an answer, on phrasings kept from training.
        recipe: in words.
    """

    adapter: Path
    base: str
    phrasings: int
    examples: int
    tokens: int
    dev_loss: float
    recipe: str


def corpus_of(count: int, *, seed: int, replies: float, own: Catalogue | None) -> Corpus:
    """So many examples to train on, and those of phrasings kept from it.

    Args:
        replies: share of them that are replies written from claims.
        own: a catalogue that half of the others speak of.
    """
    written = read_phrasings()
    taught = [one for one in written if not one.is_dev]
    told = round(count * replies)
    found = examples(taught, count - told, seed=seed, own=own) + [
        Example.of("reply", messages, answer) for messages, answer in reply_examples(told, seed)
    ]
    Random(seed).shuffle(found)
    kept = examples([one for one in written if one.is_dev], DEV_EXAMPLES, seed=seed + 1, own=own)
    return Corpus(tuple(found), tuple(kept), len(written))


def tune(
    source: LlmSource,
    out: Path,
    *,
    folder: Path,
    recipe: Recipe = Recipe(),
    count: int = 10_000,
    replies: float = 0.1,
    own: Catalogue | None = None,
    begun: Path | None = None,
    progress: Progress = no_progress,
    looked: Callable[[Sequence[Example]], None] = lambda _examples: None,
) -> Tuned:
    """Train an adapter for a model and write it. A run that was stopped goes on from what ``folder`` holds.

    Args:
        source: the model, a file.
        out: the adapter, GGUF.
        folder: for the state of the run.
        recipe: how it is trained. count: examples. replies: share of them that are replies.
        own: the catalogue it is for; None: none in particular.
        begun: an adapter to go on from; None: one that changes nothing yet.
        progress: told what is done.
        looked: given the examples before they are trained on.

    Raises:
        UserError: the model is no llama in a GGUF file, or its chat template cannot be used, or ``out`` or ``folder``
            cannot be written, or what ``folder`` holds is damaged, or ``begun`` cannot be gone on from.
        MissingExtra: the packages for tuning are not installed.
    """
    base = source.original or source.path
    assert base is not None, "a model on a server cannot be tuned"
    require_llama(base)
    require_packages()
    if out.is_dir():
        raise UserError(f"{out}: is a folder; an adapter is a file")
    for written in (out.parent, folder):
        _require_room(written)
    progress("making examples", 0)
    corpus = corpus_of(count, seed=recipe.seed, replies=replies, own=own)
    looked(corpus.train)
    reader = ChatLlamaCpp(model=str(base), notice=lambda _told: None)
    try:
        taught, kept = tokens_of(reader, corpus.train), tokens_of(reader, corpus.dev)
    finally:
        reader.close()
    plan = plan_of(taught, recipe)
    progress("reading the model", 0)
    model = adapted(read_base(base, precision="bfloat16" if recipe.half else "float32"), recipe)
    if begun is not None:
        read_into(model, begun, base=base)
    read = (base.name, base.stat().st_size, begun and weights.sha256(begun), [asdict(one) for one in corpus.train])
    key = sha256(repr(read).encode()).hexdigest()

    def told(step: int, steps: int, loss: float) -> None:
        progress(f"training (loss {loss:.2f})", step, steps)

    train(model, plan, recipe, folder=folder, key=key, told=told)
    progress("looking at phrasings kept from training", 0)
    loss = mean_loss(model, packs(kept, Random(0), room=recipe.room))
    words = (
        f"LoRA of rank {recipe.rank}, alpha {recipe.alpha}, on all linear layers; {recipe.passes:g} passes over "
        f"{len(taught):,} examples of {corpus.phrasings:,} phrasings, {recipe.batch} or more a step; AdamW, rate "
        f"{recipe.rate:g}, warmed up over {recipe.warmup:.0%}, cosine to a tenth; loss on the answers alone"
    )
    if begun is not None:
        words += f"; begun from {begun.name} ({read_header(begun).values.get(RECIPE, 'of an unknown recipe')})"
    write_adapter(out, model, base=base, alpha=recipe.alpha, recipe=words, seeds=(recipe.seed,))
    return Tuned(
        adapter=out,
        base=base.name,
        phrasings=corpus.phrasings,
        examples=len(taught),
        tokens=sum(len(pack.ids) for step in plan.steps for pack in step),
        dev_loss=loss,
        recipe=words,
    )


def _require_room(folder: Path) -> None:
    """That files can be written to a folder, which is made: seen before the training and not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
