"""``llm4rec replay --export``: the folds as files for other programs, in place of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from ..catalog.workspace import Build
    from ..evaluation.study import Question

#: Options about policies, which an export asks nothing.
_NOT_OF_EXPORT = ("--policies", "--baseline", "-k", "--seeds", "--workers", "--resume", "--requests", "--llm")


def check_options(given: Mapping[str, Any], protocol: str) -> None:
    """Whether the options given have a meaning beside ``--export``.

    Raises:
        UserError: one has none; it is named.
    """
    if protocol == "ope":
        raise UserError("--export has no meaning under --protocol ope: bandit logs are files already")
    for name in _NOT_OF_EXPORT:
        if given[name] is not None:
            raise UserError(f"{name} has no meaning beside --export, which fits no policy: leave one out")


def export(question: Question, build: Build | None, folder: Path, as_json: bool) -> None:
    """Write the folds of a question and say where they are.

    Raises:
        UserError: the folds cannot be had, or the folder cannot be written.
    """
    from ..evaluation.exporting import export_folds
    from ..evaluation.study import folds_of, material_of

    material = None if build is None else material_of(build)
    catalogue = None if material is None else material.catalogue
    folds = folds_of(question, None if material is None else material.log, catalogue)
    written = export_folds(folds, build, catalogue, folder)
    if as_json:
        typer.echo(written.model_dump_json())
        return
    for fold in written.folds:
        events, users = f"{fold.train_interactions:,}", f"{fold.queries:,}"
        typer.echo(f"{fold.path}: {events} interactions to train on, {users} users to make lists for")
