"""What a workspace keeps of the log it was built from: published builds, one in the making, and replays on them."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from ..catalog import durable, rebuild
from ..catalog.dropping import drop_user, holds
from ..catalog.editions import SIZES
from ..catalog.interactions import load_interactions
from ..catalog.text import one_line
from ..catalog.workspace import read_manifest
from ..errors import UserError
from ..profiles.store import Removed
from ..ranking.graph_users import drop_from_models, fitted
from ..ranking.models import VIEWS
from ._forgetting_files import files_under
from ._forgotten import Forgotten, without_samples

_MANIFEST, _STAGES = "manifest.json", "stages.json"
#: Stages that learn from the log, and what they leave; the second is of a training that was cut off.
_LEARNED: Final = ("models", "bias")
_LEFT_BY_THEM: Final = ("models", "trained", "causal.json")
#: Of reading that was cut off.
_SCRATCH: Final = (".interactions", "llm4rec-*")
#: Names of what a replay keeps: a cell of its table, a policy's work.
_KEY: Final = re.compile(r"[0-9a-f]{24}")
_MEND: Final = "build the workspace again"


@dataclass
class Dropped:
    """What was taken out.

    Attributes:
        removed: by build.
        rebuild: models that were fitted with it.
        sources: names of the data that the builds were made of.
        busy: workspaces that a build runs in, so that nothing could be done there.
    """

    removed: list[Removed] = field(default_factory=list)
    rebuild: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    busy: list[Path] = field(default_factory=list)


def drop_from_builds(root: Path, meant: Forgotten) -> Dropped:
    """Take a user, or their interaction with an item, out of every log under a workspace, and what was made of it.

    Sums over users stay and are marked (:mod:`..catalog.rebuild`). A build that was stopped while reading is begun
    anew, one that was stopped later fits its models anew. What replays kept goes: on another log it is of no use.
    Doing it again finishes what a kill cut off. Statements are in no log.

    Raises:
        UserError: a file of a build is missing or damaged, or cannot be written.
    """
    found = Dropped()
    if meant.statement is not None:
        return found
    try:
        logs = _logs(root)
        if any(_in_log(folder, meant) for folder in logs):
            found.removed += _drop_replays(root)
            logs = _logs(root)
        for place in dict.fromkeys([root, *(_workspace_of(folder, root) for folder in logs)]):
            inside = [folder for folder in logs if _workspace_of(folder, root) == place]
            with _no_build(place) as free:
                unread = [path for path in _staged(place) if not (path / SIZES).exists()]
                if not free:
                    found.busy += [place] if unread or any(_in_log(folder, meant) for folder in inside) else []
                    continue
                for folder in unread:
                    shutil.rmtree(folder)
                for folder in inside:
                    drop = _drop_from_build if (folder / _MANIFEST).exists() else _drop_from_stages
                    drop(folder, meant, root, found)
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be written anew: {error.strerror}") from error
    return found


def _logs(root: Path) -> list[Path]:
    return [path.parent for path in files_under(root) if path.name == SIZES]


def _workspace_of(folder: Path, root: Path) -> Path:
    """The workspace that a build belongs to: a replay has one of its own. Never one that the root lies in."""
    place = folder.parent.parent
    return place if folder.parent.name in ("builds", "staging") and place.is_relative_to(root) else root


def _in_log(folder: Path, meant: Forgotten) -> bool:
    row = _row_of(folder, meant.item)
    return (meant.item is None or row is not None) and holds(load_interactions(folder), meant.user, item=row)


def _row_of(folder: Path, item: str | None) -> int | None:
    """The row of an item in a build's catalogue; None where it has none, or is not asked for."""
    if item is None:
        return None
    path = folder / "items.parquet"
    try:
        rows = pl.scan_parquet(path).with_row_index("row").filter(pl.col("id") == item).select("row").collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} is damaged ({one_line(str(error), 120)}): {_MEND}") from error
    return int(rows.item(0, 0)) if rows.height else None


def _drop_from_build(folder: Path, meant: Forgotten, root: Path, found: Dropped) -> None:
    """A published build: its log, the users in its models, and its manifest."""
    manifest = read_manifest(folder)
    if _in_log(folder, meant):
        found.sources = list(dict.fromkeys([*found.sources, manifest.source]))
        if len(load_interactions(folder).of_user(meant.user)):
            # First, so that no kill leaves models that hold something of it without the mark.
            models = [name for name in fitted(folder / "models") if name not in VIEWS]
            marked = rebuild.mark(folder, [*models, "the weights of the parts", "the causal report"])
            found.rebuild = list(dict.fromkeys([*found.rebuild, *marked.models]))
        _drop_from_log(folder, meant, root, found)
    log = load_interactions(folder)
    if drop_from_models(folder / "models", log):
        place, unit = str(folder.relative_to(root)), "node" if meant.everything else "edge"
        found.removed.append(Removed(store="graph", place=place, count=1, unit=unit))
    renewed = manifest.model_copy(
        update={
            "notes": without_samples(manifest.notes, meant.user) if meant.everything else manifest.notes,
            "users": log.n_users,
            "interactions": len(log),
        }
    )
    if renewed != manifest:
        durable.replace(folder / _MANIFEST, (renewed.model_dump_json(indent=2) + "\n").encode())


def _drop_from_stages(folder: Path, meant: Forgotten, root: Path, found: Dropped) -> None:
    """A build in the making that was stopped after it had read the log: what it learned from that is learned anew."""
    for pattern in _SCRATCH:
        for path in folder.glob(pattern):
            shutil.rmtree(path)
    if not _in_log(folder, meant):
        return
    stages = folder / _STAGES
    if stages.exists():
        done = {name: left for name, left in json.loads(stages.read_bytes()).items() if name not in _LEARNED}
        done = without_samples(done, meant.user) if meant.everything else done
        durable.replace(stages, json.dumps(done, indent=1).encode())
    for name in _LEFT_BY_THEM:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _drop_from_log(folder, meant, root, found)


def _drop_from_log(folder: Path, meant: Forgotten, root: Path, found: Dropped) -> None:
    rows = drop_user(folder, meant.user, item=_row_of(folder, meant.item))
    found.removed.append(Removed(store="log", place=str(folder.relative_to(root)), count=rows, unit="interaction"))


def _drop_replays(root: Path) -> list[Removed]:
    """What replays kept to go on with: lists by user, turns of the agent, logs of their own."""
    removed = []
    for cells in sorted({path.parent for path in files_under(root) if path.parent.name == "cells"}):
        kept = [path for path in cells.iterdir() if _KEY.match(path.stem.lstrip("."))]
        if not kept or len(kept) < len(list(cells.iterdir())):
            continue  # no replay's
        out = cells.parent
        work = [path for path in _folders(out / "work") if _KEY.fullmatch(path.name)]
        for path in work:
            shutil.rmtree(path)
        for path in [*kept, *(out / "kept").glob("sequence-*")]:
            path.unlink()
        count, unit = len(kept) + len(work), "kept result"
        removed.append(Removed(store="replay", place=str(out.relative_to(root)), count=count, unit=unit))
    return removed


def _staged(place: Path) -> Sequence[Path]:
    """Builds in the making, those that were not read yet included."""
    return [path for path in _folders(place / "staging") if not path.is_symlink()]


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else []


@contextmanager
def _no_build(place: Path) -> Iterator[bool]:
    """Whether no build runs in a workspace; as long as the context lasts none can begin."""
    if not (place / "staging").is_dir():
        yield True
        return
    with (place / "staging" / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
