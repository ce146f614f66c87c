"""``llm4rec build`` and ``llm4rec demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, LlmOption, WorkspaceOption

if TYPE_CHECKING:
    from ..catalog.workspace import Build

#: What the demo says: a mood, a refinement with feedback, a question, a doubt.
SCRIPT = (
    "something tense set on a submarine",
    "I gave up on Titanic halfway. something funny from the eighties?",
    "why the first one?",
    "are these just the popular ones?",
)


def build(
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Folder of the data set; see docs/data-formats.md.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file (TOML) for CSV, JSONL or Parquet data.")] = None,
    write_mapping: Annotated[
        bool, typer.Option("--write-mapping", help="Look at the data, print a mapping file to start from, and stop.")
    ] = False,
    demo_data: Annotated[
        bool, typer.Option("--demo", help="Build the demo catalogue that comes with the package.")
    ] = False,
    text_model: Annotated[str | None, typer.Option(help="sentence-transformers model: path or hub id.")] = None,
    image_model: Annotated[
        str | None, typer.Option(help="open_clip model: NAME/PRETRAINED, checkpoint or hf-hub:id.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Build a workspace: read, embed, index, fit, estimate bias. A killed build continues where it stopped."""
    from ..errors import UserError

    if data is None and not demo_data:
        raise UserError("what to build? give --data FOLDER, or --demo for the catalogue that comes with the package")
    if write_mapping:
        from ..catalog.readers import propose_mapping

        assert data is not None
        typer.echo(propose_mapping(data))
        return
    finished = run_build(
        None if demo_data else data,
        workspace,
        mapping=mapping,
        text_model=text_model,
        image_model=image_model,
        seed=seed,
    )
    if as_json:
        typer.echo(finished.manifest.model_dump_json())
    else:
        report_build(finished)


def run_build(data: Path | None, workspace: Path, **options: object) -> Build:
    """Build with progress bars on stderr."""
    from ..builder import BuildOptions, build_workspace
    from .show import progress_bars

    with progress_bars() as bars:
        tasks: dict[str, object] = {}

        def progress(what: str, done: int, total: int | None = None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        return build_workspace(data, workspace, BuildOptions(**options), progress=progress)  # type: ignore[arg-type]


def report_build(build: Build) -> None:
    """The counts, and what was left out."""
    from rich.markup import escape

    from . import show

    m = build.manifest
    out = show.console()
    out.print(
        f"[bold]{escape(m.source)}[/bold]: {m.items:,} items ({m.images:,} with a picture), {m.users:,} users, "
        f"{m.interactions:,} interactions. Views: {', '.join(f'{n} ({v.items:,})' for n, v in m.views.items())}."
    )
    for kind, count in (*m.bad_rows.items(), *m.settled.items()):
        out.print(f"  [yellow]{count:,}[/yellow] {escape(kind)}")
    for note in m.notes:
        out.print(f"  {escape(note)}")
    out.print(f"Built in {sum(m.seconds.values()):.0f} s as {m.id}.")
    show.print_notices((), simulated=m.simulated)


def demo(
    workspace: WorkspaceOption = Path("demo-workspace"),
    llm: LlmOption = None,
    user: Annotated[str, typer.Option("--user", "-u", help="Who talks.")] = "guest",
) -> None:
    """Build the demo workspace if it is not there, hold a short conversation, print it, say how to go on."""
    import time

    from ..agent.recommender import Recommender
    from ..catalog.workspace import Workspace
    from . import show
    from .chat import Session, say

    if not Workspace(workspace).current.exists():
        show.console().print("Building the demo workspace: 500 films, drawn posters, a simulated log. About a minute.")
        report_build(run_build(None, workspace))
    with Recommender.open(workspace, llm=llm) as recommender:
        with show.console(stderr=True).status("Loading the language model ..."):
            planner = recommender.planner.name
        show.console().print(f"\nA conversation with the local planner [bold]{planner}[/bold]:\n")
        session = Session(recommender, user, f"demo-{int(time.time())}", None, False)
        for line in SCRIPT:
            show.console().print(f"[bold cyan]you>[/bold cyan] {line}")
            say(session, line)
    show.console().print(
        f"Now you:  [bold].venv/bin/llm4rec chat --workspace {workspace} --user me[/bold]\n"
        f"Or:       [bold].venv/bin/llm4rec recommend --workspace {workspace} --user 1[/bold]"
    )
