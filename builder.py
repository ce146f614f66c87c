"""The build path: reader -> catalogue and log -> views -> behaviour models -> causal report -> published build.

Each stage leaves its result in ``staging/<key>/`` and is recorded when it is whole, so that a killed build continues
where it stopped. The key is made of the data's fingerprint, the models asked for and the seed: another input is
another staging folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from .catalog.items import Catalogue
from .catalog.readers.raw import Progress, no_progress
from .catalog.views import item_text
from .catalog.workspace import Build, Manifest, ViewInfo, Workspace, new_build_id
from .errors import UserError

if TYPE_CHECKING:
    from .catalog.readers.raw import RawData

log = logging.getLogger(__name__)

#: Raised when a stage's result changes its form, so that old staging folders are not continued.
STAGES_VERSION = 4
#: Parts of the ranker that the demo does without. On the validation part of its simulated log the transformer gains 5 %
#: of NDCG@10, which may be chance, and takes longer than all else.
DEMO_WITHOUT = ("sequence",)
#: Folder of transformers that a stopped build has trained already.
_TRAINED = "trained"
#: Longest side of the pictures a build keeps, in pixels.
IMAGE_SIZE = 512
#: Free bytes below which an error of a library is put down to a full disk.
NO_SPACE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build is asked for.

    Attributes:
        mapping: mapping file for data that no reader knows.
        text_model: sentence-transformers model; None is the bundled default.
        image_model: open_clip model; None is the bundled default.
        seed: of everything random.
        chroma: URL of a Chroma server that is to hold the vector indexes; None keeps them in the workspace.
        without: parts of the ranker to leave out; None is :data:`DEMO_WITHOUT` for the demo, and nothing for all else.
    """

    mapping: Path | None = None
    text_model: str | None = None
    image_model: str | None = None
    seed: int = 7
    chroma: str | None = None
    without: tuple[str, ...] | None = None


class Staging:
    """A build in the making: which stages are whole, and what each left for the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._record = folder / "stages.json"
        self._done: dict[str, Any] = json.loads(self._record.read_text()) if self._record.exists() else {}

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a stage unless it is already whole; returns what it left."""
        if name not in self._done:
            started = time.perf_counter()
            result = work()
            self._done[name] = {**result, "seconds": round(time.perf_counter() - started, 2)}
            temporary = self._record.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._done, indent=1), encoding="utf-8")
            temporary.replace(self._record)
        found: dict[str, Any] = self._done[name]
        return found

    @property
    def seconds(self) -> dict[str, float]:
        return {name: result["seconds"] for name, result in self._done.items()}


def build_workspace(
    data: Path | None, workspace: Path, options: BuildOptions | None = None, *, progress: Progress = no_progress
) -> Build:
    """Build a workspace from a data folder (None: the demo catalogue) and publish it.

    Raises:
        UserError: the data cannot be read, a part to leave out does not exist, another build is running, or the disk is
            full. What was built so far is kept, and the same command continues it.
    """
    asked = options or BuildOptions()
    _check_without(asked.without or ())
    place = Workspace(workspace)
    key = _key(data, asked)  # first: data that are not there leave no folders behind
    with _full_disk_said(place), _only_build(place):
        return _build(data, place, asked, Staging(place.staging / key), progress)


def _build(data: Path | None, place: Workspace, options: BuildOptions, staging: Staging, progress: Progress) -> Build:
    from .catalog.embedding_cache import EmbeddingCache
    from .catalog.interactions import load_interactions

    folder = staging.folder
    read = staging.stage("read", lambda: _read(data, options, folder, progress))
    catalogue = Catalogue(pl.read_parquet(folder / "items.parquet"))
    with EmbeddingCache(place.cache / "embeddings.sqlite") as cache:
        views = {"text": staging.stage("text view", lambda: _text_view(catalogue, options, folder, cache, progress))}
        if read["images"]:
            views["image"] = staging.stage(
                "image view", lambda: _image_view(catalogue, options, folder, cache, progress)
            )
    interactions = load_interactions(folder)
    without = options.without if options.without is not None else DEMO_WITHOUT if data is None else ()
    models = staging.stage(
        "models", lambda: _models(folder, interactions, catalogue, tuple(views), without, options.seed, progress)
    )
    staging.stage("bias", lambda: _bias(folder, interactions, catalogue, read["simulated"], options.seed, progress))
    manifest = Manifest(
        id=new_build_id(folder.name),
        created=_now(),
        source=read["name"],
        kind=read["kind"],
        simulated=read["simulated"],
        items=len(catalogue),
        users=interactions.n_users,
        interactions=len(interactions),
        has_ratings=interactions.has_ratings,
        has_times=interactions.has_times,
        images=read["images"],
        views={
            name: ViewInfo(model=view["model"], dimension=view["dimension"], items=view["items"])
            for name, view in views.items()
        },
        models={name: value for name, value in models.items() if name not in ("seconds", "notes")},
        text_model=options.text_model,
        image_model=options.image_model,
        chroma=options.chroma,
        bad_rows=read["bad_rows"],
        settled=read["settled"],
        notes=(*read["notes"], *(note for view in views.values() for note in view["notes"]), *models["notes"]),
        seconds=staging.seconds,
    )
    build = place.publish(folder, manifest)
    place.prune()
    place.sweep()
    return build


def _check_without(without: tuple[str, ...]) -> None:
    """Before anything is built: an hour later would be late."""
    from .ranking.fused import FusedConfig

    parts = FusedConfig().parts
    if strange := [name for name in without if name not in parts]:
        raise UserError(f"the ranker has no part {strange[0][:40]!r} to leave out: it has {', '.join(parts)}")
    if set(parts) <= set(without):
        raise UserError("every part of the ranker is left out: keep one, popularity at least")


def _read(data: Path | None, options: BuildOptions, folder: Path, progress: Progress) -> dict[str, Any]:
    """Read and judge the data; write items, users, log and pictures."""
    from .catalog.interactions import write_interactions

    images = folder / "images"
    images.mkdir(exist_ok=True)
    if data is None:
        from .catalog.demo import load_demo

        raw = load_demo(folder / "demo-posters", progress)
    else:
        from .catalog.readers import read

        raw = read(data, mapping=options.mapping, progress=progress, scratch=folder)
    kept, refused = _keep_images(raw, images, progress)
    frame = raw.catalogue.frame.with_columns(
        pl.Series("image", [kept.get(item_id) for item_id in raw.catalogue.ids], dtype=pl.String)
    )
    frame.write_parquet(folder / "items.parquet")
    write_interactions(raw, folder, Catalogue(frame), progress)
    shutil.rmtree(folder / "demo-posters", ignore_errors=True)
    notes = list(raw.notes)
    for kind, rows in raw.problems.first.items():
        notes.append(f"{kind}, first of them: " + "; ".join(str(row) for row in rows[:3]))
    if refused:
        notes.append(f"{len(refused)} pictures could not be read, the first: {refused[0]}")
    return {
        "name": raw.name,
        "kind": raw.kind,
        "simulated": raw.simulated,
        "images": len(kept),
        "bad_rows": dict(raw.problems.counts),
        "settled": dict(raw.problems.settled),
        "notes": notes,
    }


def _keep_images(raw: RawData, images: Path, progress: Progress) -> tuple[dict[str, str], list[str]]:
    """Copy the pictures, decoded within bounds and encoded anew, under names of our own making."""
    from .catalog.images import open_image, thumbnail_bytes

    kept: dict[str, str] = {}
    refused: list[str] = []
    for position, (item_id, source) in enumerate(raw.images.items()):
        name = f"{raw.catalogue.row_of[item_id]}.jpg"
        target = images / name
        if not target.exists():
            try:
                content = thumbnail_bytes(open_image(source), IMAGE_SIZE)
            except UserError as error:
                refused.append(str(error))
                continue
            temporary = target.with_suffix(".tmp")
            temporary.write_bytes(content)
            temporary.replace(target)
        kept[item_id] = name
        progress("pictures", position + 1, len(raw.images))
    return kept, refused


def _text_view(
    catalogue: Catalogue, options: BuildOptions, folder: Path, cache: Any, progress: Progress
) -> dict[str, Any]:
    from .catalog.embedding_cache import embed_texts
    from .catalog.encoders import load_text_encoder
    from .catalog.index import build_view
    from .catalog.words import build_words

    progress("loading the text model", 0)
    encoder = load_text_encoder(options.text_model)
    texts = [item_text(item) for item in catalogue]
    build_words(folder / "views" / "words", texts, lambda done, total: progress("words", done, total))
    vectors = embed_texts(encoder, texts, cache, lambda done, total: progress("texts", done, total))
    build_view(
        folder / "views",
        "text",
        vectors,
        encoder.model_id,
        lambda done, total: progress("text index", done, total),
        url=options.chroma,
    )
    return {"model": encoder.model_id, "dimension": encoder.dimension, "items": len(catalogue), "notes": []}


def _image_view(
    catalogue: Catalogue, options: BuildOptions, folder: Path, cache: Any, progress: Progress
) -> dict[str, Any]:
    from .catalog.embedding_cache import embed_images
    from .catalog.encoders import load_image_encoder
    from .catalog.index import build_view

    progress("loading the image model", 0)
    encoder = load_image_encoder(options.image_model)
    names = catalogue.frame["image"].to_list()
    embedded = embed_images(
        encoder,
        [None if name is None else folder / "images" / name for name in names],
        cache,
        lambda done, total: progress("images", done, total),
    )
    build_view(
        folder / "views",
        "image",
        embedded.vectors,
        encoder.model_id,
        lambda done, total: progress("image index", done, total),
        url=options.chroma,
    )
    return {
        "model": encoder.model_id,
        "dimension": encoder.dimension,
        "items": sum(name is not None for name in names) - len(embedded.unreadable),
        "notes": [f"{len(embedded.unreadable)} stored pictures could not be embedded"] if embedded.unreadable else [],
    }


def _models(
    folder: Path,
    interactions: Any,
    catalogue: Catalogue,
    views: tuple[str, ...],
    without: tuple[str, ...],
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    import numpy as np

    from .ranking.log import Log
    from .ranking.models import Metadata, fit

    vectors = {
        name: np.load(folder / "views" / name / "vectors.npy", mmap_mode="r", allow_pickle=False) for name in views
    }
    found = fit(
        Log.of(interactions),
        folder / "models",
        catalogue=catalogue,
        views=vectors,
        without=without,
        seed=seed,
        kept=folder / _TRAINED,
        progress=progress,
    )
    shutil.rmtree(folder / _TRAINED, ignore_errors=True)
    return {**found, "notes": Metadata.model_validate(found).notes()}


def _bias(
    folder: Path, interactions: Any, catalogue: Catalogue, simulated: bool, seed: int, progress: Progress
) -> dict[str, Any]:
    """The causal report, and what follows from it for the scores of the models that were just fitted."""
    import numpy as np

    from .causal.build import build_report
    from .ranking.models import read_metadata

    slope = read_metadata(folder / "models").outcome_slope
    report = build_report(
        interactions.frame(),
        catalogue=catalogue,
        text=np.load(folder / "views" / "text" / "vectors.npy", mmap_mode="r", allow_pickle=False),
        slope=None if slope is None else (slope.value, slope.interval),
        seed=seed,
        simulated=simulated,
        progress=progress,
    )
    report.write(folder / "causal.json")
    return {"verdict": report.popularity.verdict}


def _key(data: Path | None, options: BuildOptions) -> str:
    """Names the input: same data, models and seed, same key."""
    from . import __version__
    from .catalog.readers import fingerprint

    parts = {
        "version": [STAGES_VERSION, __version__],
        "data": "demo" if data is None else fingerprint(data, options.mapping),
        "options": {**asdict(options), "mapping": options.mapping is not None},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextmanager
def _only_build(place: Workspace) -> Iterator[None]:
    """One build at a time in a workspace; the lock goes with the process."""
    place.prepare()
    with (place.staging / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another build is running in {place.root}: wait for it, or stop it") from None
        yield


@contextmanager
def _full_disk_said(place: Workspace) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _disk_is_full(error, place.root):
            raise UserError(
                f"the disk of {place.root} is full: free some space and run the same command; it continues"
            ) from error
        raise


def _disk_is_full(error: BaseException, place: Path) -> bool:
    """Whether a full disk is behind an error, however a library wrapped it."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(behind).lower()
        if "no space left" in text or "disk is full" in text:
            return True
        behind = behind.__cause__ or behind.__context__
    # numpy, SQLite and Chroma do not always say why they could not write
    passed_on = not isinstance(error, UserError) or error.__cause__ is not None
    return passed_on and place.exists() and shutil.disk_usage(place).free < NO_SPACE


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
