"""Profiles through the commands that people use, over the shop's workspace."""

from __future__ import annotations

from pathlib import Path

from terminal import Ended, command

#: Commands that read a profile; the user and the workspace come after.
READING: tuple[tuple[str, ...], ...] = (
    ("profile", "show"),
    ("history",),
    ("recommend", "--json"),
    ("chat", "--json", "--llm", "rules"),
)


def run(workspace: Path, *arguments: object, user: str = "ana") -> Ended:
    """A command for a user; a conversation asks for a list and for what is on record."""
    return command(*arguments, "--user", user, "-w", workspace, stdin="surprise me\nwhat have I liked?\n")


def told(reply: str) -> list[str]:
    """The lines of a reply that are claims, without Markdown's signs."""
    return [line.removeprefix("- ").replace("\\", "") for line in reply.splitlines() if line.startswith("- ")]
