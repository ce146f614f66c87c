"""``llm4rec items``: change the live catalogue without a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from ..agent.live import CatalogueChange

app = typer.Typer(no_args_is_help=True, help="Change the live catalogue: add, update, remove, restore.")

FileArgument = Annotated[
    Path,
    typer.Argument(
        help='JSON lines: {"id": ..., "title": ..., "description": ..., "image": PATH, "attributes": {...}}.'
    ),
]


def _report(done: CatalogueChange, as_json: bool) -> None:
    if as_json:
        typer.echo(done.model_dump_json())
    else:
        typer.echo(f"{done.mode}: {len(done.items)} items; the live catalogue is at version {done.version}.")


@app.command()
def add(source: FileArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Add items: searchable, and rankable by their content, at once."""
    from ..agent.live import change_items

    _report(change_items(workspace, source, mode="add"), as_json)


@app.command()
def update(source: FileArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Replace items that are there: title, description, attributes, picture."""
    from ..agent.live import change_items

    _report(change_items(workspace, source, mode="update"), as_json)


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(help="Ids of the items.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make items unavailable: they vanish from every list."""
    from ..agent.live import set_availability

    _report(set_availability(workspace, ids, available=False), as_json)


@app.command()
def restore(
    ids: Annotated[list[str], typer.Argument(help="Ids of the items.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make removed items available again."""
    from ..agent.live import set_availability

    _report(set_availability(workspace, ids, available=True), as_json)
