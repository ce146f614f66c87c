"""``llm4rec tune``: teach a model to plan."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, LlmOption, Stopped


def tune(
    out: Annotated[Path, typer.Option("--out", "-o", help="The adapter to write, a GGUF file.")],
    llm: LlmOption = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            "--catalogue",
            help="Workspace whose catalogue half of the examples are to speak of. The default is none in particular.",
        ),
    ] = None,
    begun: Annotated[
        Path | None,
        typer.Option("--from", help="An adapter to go on from, of the same rank. The default is to begin anew."),
    ] = None,
    examples: Annotated[int, typer.Option(min=100, max=200_000, help="Examples to make of the phrasings.")] = 10_000,
    passes: Annotated[float, typer.Option(min=0.01, max=50, help="Passes over the examples.")] = 1.0,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Rank of the adapter's factors.")] = 16,
    rate: Annotated[float, typer.Option(min=1e-6, max=1e-1, help="Highest learning rate.")] = 8e-4,
    replies: Annotated[float, typer.Option(min=0, max=0.9, help="Share of replies written from claims.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the state of the run, which a later run goes on from. The default is OUT, with .work for "
            ".gguf."
        ),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", min=0, max=1000, help="Print so many of the examples, and train nothing.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train an adapter by which a small llama-architecture model plans. 45 to 80 minutes on two cores; a GPU is used.

    Needs what comes with the extra 'tune'. A run that was stopped continues where it was: give the same options again.
    """
    from ..agent.merging import read_adapter
    from ..agent.opening import read_catalogue
    from ..agent.tuning.run import corpus_of, tune
    from ..agent.tuning.train import Recipe, forget_run
    from ..agent.weights import resolve
    from ..catalog.workspace import Workspace
    from ..errors import UserError
    from .interrupt import interruptible
    from .show import progress_bars

    own = None if catalogue is None else read_catalogue(Workspace(catalogue).open())
    recipe = Recipe(rank=rank, alpha=2 * rank, rate=rate, passes=passes, seed=seed)
    if show:
        for one in corpus_of(examples, seed=seed, replies=replies, own=own).train[:show]:
            typer.echo(json.dumps({**asdict(one)}, ensure_ascii=False))
        return
    if out.suffix != ".gguf":
        raise UserError(f"--out {out}: an adapter is a *.gguf file")
    if begun is not None:
        read_adapter(begun)  # seen before the training and not after it
    source = resolve(llm)
    if source.path is None:
        raise UserError(f"--llm {llm}: a model on a server cannot be tuned: give a GGUF file")
    folder = work or out.with_suffix(".work")
    try:
        with interruptible() as check, progress_bars() as shown:

            def progress(what: str, done: int, total: int | None = None) -> None:
                check()
                shown(what, done, total)

            found = tune(
                source,
                out,
                folder=folder,
                recipe=recipe,
                count=examples,
                replies=replies,
                own=own,
                begun=begun,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Stopped(f"stopped; the same command goes on from {folder}") from None
    forget_run(folder)
    if as_json:
        typer.echo(json.dumps({"schema": "llm4rec.tuned/1", **asdict(found), "adapter": str(found.adapter)}))
        return
    typer.echo(f"{found.adapter}: an adapter for {found.base}, {found.adapter.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"trained on {found.examples:,} examples of {found.phrasings:,} phrasings ({found.tokens:,} tokens)")
    typer.echo(f"loss on phrasings kept from training: {found.dev_loss:.3f}")
    # the bundled model is not named: given as a file, it would run as that file and not as its faster copy
    model = "" if source.kind == "bundled" else f"--llm {shlex.quote(str(llm))} "
    typer.echo(f"use it: llm4rec chat {model}--adapter {shlex.quote(str(found.adapter))}")
