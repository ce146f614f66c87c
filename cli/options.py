"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_WORKSPACE = Path("workspace")

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="LLM4REC_WORKSPACE", help="Folder of the workspace.", show_default=True),
]
UserOption = Annotated[str, typer.Option("--user", "-u", help="Whose history and profile.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, on one line, and nothing else.")]
CountOption = Annotated[int, typer.Option("-k", help="How many items, 1 to 50.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Filter: 'year>=1990', 'genres=Comedy', 'genres!=Horror', 'cast~hanks', 'price<=20'. May be repeated.",
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm",
        envvar="LLM4REC_LLM",
        help="Language model: a GGUF path, hf:owner/repo/file.gguf, an OpenAI-compatible URL (URL#model), "
        "or 'rules' for none. Default: the bundled SmolLM2-135M.",
    ),
]
