"""``llm4rec build`` and ``llm4rec demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, AdapterOption, JsonOption, LlmOption, ProfilesOption, Stopped, WorkspaceOption

if TYPE_CHECKING:
    from ..catalog.workspace import Build

#: What the demo says: a mood, a refinement with feedback, a question, a doubt.
SCRIPT = (
    "something tense set on a submarine",
    "I'm tired of sad endings. something funny from the eighties?",
    "why the first one?",
    "are these just the popular ones?",
)


def build(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", help="Folder of the data set (docs/data-formats.md); needed unless --demo is given."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Mapping file (TOML) for CSV, JSON lines or Parquet tables. "
            "The default is llm4rec.toml in the data folder, if it is there."
        ),
    ] = None,
    write_mapping: Annotated[
        bool,
        typer.Option(
            "--write-mapping",
            help="Print a mapping file to start from, and stop; the default is to build.",
        ),
    ] = False,
    demo_data: Annotated[
        bool, typer.Option("--demo", help="Build the demo catalogue that comes with the package, in place of --data.")
    ] = False,
    text_model: Annotated[
        str | None,
        typer.Option(help="Text encoder, a sentence-transformers folder or hub id. The default is the bundled one."),
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(
            help="Image encoder, for open_clip: NAME/PRETRAINED, hf-hub:ID, or a checkpoint. "
            "The default is the bundled one."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 7,
    chroma: Annotated[
        str | None,
        typer.Option(
            envvar="LLM4REC_CHROMA",
            help="URL of a Chroma server that is to hold the vector indexes. The default keeps them in the workspace.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Part of the ranker to leave out: popularity, transitions, ease, graph, sequence, text, image or "
            "posterior; may be given several times. sequence (a transformer) takes most of the time: some minutes for "
            "100,000 interactions or more. The default leaves nothing out; with --demo, the transformer."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a workspace: read, embed, index, fit, estimate bias. A killed build continues where it stopped."""
    from ..errors import UserError

    if data is not None and demo_data:
        raise UserError("--data and --demo exclude each other: leave one out")
    if data is None and (mapping is not None or write_mapping):
        raise UserError("a mapping describes tables of your own: give their folder with --data")
    if data is None and not demo_data:
        raise UserError("what to build? give --data FOLDER, or --demo for the catalogue that comes with the package")
    if data is not None and write_mapping:
        from ..catalog.readers import propose_mapping

        typer.echo(propose_mapping(data))
        return
    finished = run_build(
        data,
        workspace,
        mapping=mapping,
        text_model=text_model,
        image_model=image_model,
        seed=seed,
        chroma=chroma,
        without=tuple(without) if without else None,
    )
    if as_json:
        typer.echo(finished.manifest.model_dump_json())
    else:
        report_build(finished)


def run_build(data: Path | None, workspace: Path, **options: object) -> Build:
    """Build, with its progress on stderr."""
    from ..builder import BuildOptions, build_workspace
    from .interrupt import interruptible
    from .show import progress_bars

    try:
        with interruptible() as check, progress_bars() as shown:

            def progress(what: str, done: int, total: int | None = None) -> None:
                check()
                shown(what, done, total)

            return build_workspace(data, workspace, BuildOptions(**options), progress=progress)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command continues the build") from None


def report_build(build: Build) -> None:
    """The counts, and what was left out."""
    from rich.markup import escape

    from . import show

    m = build.manifest
    show.out(
        f"[bold]{escape(m.source)}[/bold]: {m.items:,} items ({m.images:,} with a picture), {m.users:,} users, "
        f"{m.interactions:,} interactions. Views: {', '.join(f'{n} ({v.items:,})' for n, v in m.views.items())}."
    )
    for kind, count in (*m.bad_rows.items(), *m.settled.items()):
        show.out(f"  [yellow]{count:,}[/yellow] {escape(kind)}")
    for note in m.notes:
        show.out(f"  {escape(note)}")
    show.out(f"Built in {sum(m.seconds.values()):.0f} s as {m.id}.")
    show.print_notices((), simulated=m.simulated)


def demo(
    workspace: WorkspaceOption = Path("demo-workspace"),
    llm: LlmOption = None,
    adapter: AdapterOption = None,
    profiles: ProfilesOption = None,
    user: Annotated[str, typer.Option("--user", "-u", help="Who talks in the demo.")] = "guest",
) -> None:
    """Build the demo workspace if it is not there, hold a short conversation, print it, say how to go on."""
    import shlex
    import shutil
    import sys
    import time

    from rich.markup import escape

    from ..agent.recommender import Recommender
    from ..catalog.workspace import Workspace
    from . import show
    from .chat import Session, say

    if not Workspace(workspace).current.exists():
        show.out("Building the demo workspace: films, drawn posters, a simulated log. About a minute.")
        report_build(run_build(None, workspace))
    with Recommender.open(workspace, llm=llm, adapter=adapter, profiles=profiles) as recommender:
        with show.console(stderr=True).status("Loading the language model ..."):
            planner = recommender.planner.name
            recommender.warm()
        show.out(f"\nA conversation with the local planner [bold]{escape(planner)}[/bold]:\n")
        session = Session(recommender, user, f"demo-{int(time.time())}", (), False)
        for line in SCRIPT:
            show.out(f"[bold cyan]you>[/bold cyan] {line}")
            say(session, line)
        somebody = recommender.knowledge.interactions.user_ids[0]
    command = "llm4rec" if shutil.which("llm4rec") else sys.argv[0]
    place = shlex.quote(str(workspace))
    show.out(f"Now you:  [bold]{escape(f'{command} chat --workspace {place} --user me')}[/bold]")
    show.out(f"Or:       [bold]{escape(f'{command} recommend --workspace {place} --user {somebody}')}[/bold]")
