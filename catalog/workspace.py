"""The workspace on disk.

::

    W/
      builds/<id>/     one finished build, never changed once published
        manifest.json  what it holds and which models made it
      current          symbolic link to the build in use, swapped atomically
      state/           profiles, threads, live catalogue changes: survives every rebuild
      cache/           embeddings by content hash: may be deleted at any time
      staging/<key>/   a build in the making; a killed one is continued from here, until another one is published
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError

MANIFEST_VERSION = 1


class ViewInfo(BaseModel):
    """One view of the items: which model made its vectors."""

    model_config = ConfigDict(frozen=True)
    model: str
    dimension: int
    metric: Literal["cosine"] = "cosine"
    items: int = Field(description="items that have this view")


class Manifest(BaseModel):
    """What a build holds. Written last: a folder without one is not a build."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["llm4rec.build/1"] = Field(default="llm4rec.build/1", alias="schema")
    version: int = MANIFEST_VERSION
    id: str
    created: datetime
    source: str = Field(description="name of the data set")
    kind: str = Field(description="which reader read it")
    simulated: bool = Field(default=False, description="the log is simulated: said wherever its figures show")
    items: int
    users: int
    interactions: int
    has_ratings: bool
    has_times: bool
    images: int
    views: dict[str, ViewInfo]
    models: dict[str, Any] = Field(description="how the behaviour models were fitted")
    text_model: str | None = Field(default=None, description="as asked for; null is the bundled default")
    image_model: str | None = None
    chroma: str | None = Field(default=None, description="URL of the Chroma server that holds the vector indexes")
    bad_rows: dict[str, int] = Field(default_factory=dict, description="rows that could not be read, by kind")
    settled: dict[str, int] = Field(default_factory=dict, description="ordinary dirt decided by a rule, by rule")
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict, description="time each stage took")


@dataclass(frozen=True, slots=True)
class Build:
    """One published build, read only."""

    path: Path
    manifest: Manifest

    @property
    def images(self) -> Path:
        return self.path / "images"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory that holds builds and state."""

    root: Path

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            UserError: the place exists and is no folder, or cannot be written.
        """
        try:
            for folder in (self.builds, self.state, self.cache, self.staging):
                folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"{self.root} is a file, not a folder: choose another --workspace") from None
        except PermissionError:
            raise UserError(f"{self.root} cannot be written: choose another --workspace") from None

    def open(self) -> Build:
        """The build in use.

        Raises:
            UserError: there is none, or its manifest is damaged or from another version.
        """
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root} is a file, not the folder of a workspace")
        if not self.root.is_dir():
            raise UserError(
                f"no workspace at {self.root}: make one with 'llm4rec build --data D --workspace {self.root}'"
            )
        try:
            path = self.current.resolve(strict=True)
        except OSError:
            raise UserError(
                f"{self.root} has no finished build: run 'llm4rec build --data D --workspace {self.root}', which "
                "continues one that was stopped"
            ) from None
        return Build(path=path, manifest=read_manifest(path))

    def publish(self, staged: Path, manifest: Manifest) -> Build:
        """Move a staged build into place and point ``current`` at it, atomically.

        Readers that have an older build open keep it: its files stay where they are.
        """
        (staged / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        target = self.builds / manifest.id
        staged.rename(target)
        link = self.root / f".current-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("builds") / manifest.id)
        link.replace(self.current)
        return Build(path=target, manifest=manifest)

    def prune(self, keep: int = 2) -> list[str]:
        """Remove all builds but the newest ``keep`` and the current one; the ids removed."""
        current = self.current.resolve() if self.current.exists() else None
        ids = sorted((p for p in self.builds.iterdir() if (p / "manifest.json").exists()), key=lambda p: p.name)
        gone = [p for p in ids[: max(0, len(ids) - keep)] if p.resolve() != current]
        for path in gone:
            shutil.rmtree(path)
        return [p.name for p in gone]

    def sweep(self) -> None:
        """Remove what other inputs left in ``staging/``. Only while no other build runs here."""
        for path in self.staging.iterdir():
            if path.is_dir():
                shutil.rmtree(path)


def new_build_id(key: str) -> str:
    """Sorts by time; the key ties it to its input."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}-{key[:8]}"


def read_manifest(build: Path) -> Manifest:
    path = build / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{build} has no manifest.json: it is not a finished build; build it again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is damaged at {where} ({first['msg']}): build the workspace again") from None
    if manifest.version > MANIFEST_VERSION:
        raise UserError(
            f"{path} has version {manifest.version}, this llm4rec reads up to {MANIFEST_VERSION}: update llm4rec"
        )
    return manifest
