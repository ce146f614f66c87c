"""``llm4rec doctor`` and ``llm4rec graph``: what is installed and in use, and the state machine."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .options import DEFAULT_WORKSPACE, AdapterOption, JsonOption, LlmOption, ProfilesOption, WorkspaceOption


def doctor(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    llm: LlmOption = None,
    adapter: AdapterOption = None,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the installation, the models and the workspace; exit code 1 when something is broken."""
    from rich.markup import escape

    from ..agent.checks import examine
    from . import show

    found = examine(workspace, llm, adapter, profiles=profiles)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        marks = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "bad": "[red]BAD[/red]"}
        show.print_rows((marks[f.level], f"{escape(f.what)}: {escape(f.text)}") for f in found.findings)
    if not found.well:
        raise typer.Exit(1)


def graph(
    style: Annotated[
        Literal["mermaid", "ascii"], typer.Option("--format", help="How to draw it: Mermaid, or plain lines.")
    ] = "mermaid",
) -> None:
    """Draw the conversation's state machine."""
    from ..graphs.conversation import Conversation
    from ..graphs.rules import RulePlanner
    from ..tools.facets import Facets

    planner = RulePlanner(Facets((), (), ()))
    drawn = Conversation(planner=planner, fallback=planner, toolbox=lambda _: {}).graph().get_graph()
    typer.echo(drawn.draw_mermaid() if style == "mermaid" else _ascii(drawn))


def _ascii(drawn: object) -> str:
    edges = sorted({(e.source, e.target, e.conditional) for e in drawn.edges})  # type: ignore[attr-defined]
    return "\n".join(f"{source} {'..>' if maybe else '-->'} {target}" for source, target, maybe in edges)
