"""``llm4rec items``: change the live catalogue without a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, help_when_alone

if TYPE_CHECKING:
    from ..agent.live import CatalogueChange

app = typer.Typer(help="Change the live catalogue: add, update, remove, restore.")
app.callback(invoke_without_command=True)(help_when_alone)

FileArgument = Annotated[
    Path,
    typer.Argument(
        help='File of JSON lines: {"id": ..., "title": ..., "description": ..., "image": PATH, "attributes": {...}}. '
        "Only id and title are needed; the picture's path starts from the file's folder."
    ),
]


def _report(done: CatalogueChange, as_json: bool) -> None:
    if as_json:
        typer.echo(done.model_dump_json())
    else:
        count = f"{len(done.items)} item{'' if len(done.items) == 1 else 's'}"
        typer.echo(f"{done.mode}: {count}; the live catalogue is at version {done.version}.")


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
    ids: Annotated[list[str], typer.Argument(help="The ids of the items.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make items unavailable: they vanish from every list."""
    from ..agent.live import set_availability

    _report(set_availability(workspace, ids, available=False), as_json)


@app.command()
def restore(
    ids: Annotated[list[str], typer.Argument(help="The ids of the items.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make removed items available again."""
    from ..agent.live import set_availability

    _report(set_availability(workspace, ids, available=True), as_json)
