"""Opening a workspace: everything the tools read, loaded once and checked against the manifest."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ..catalog.index import ViewIndex, open_view
from ..catalog.interactions import load_interactions
from ..catalog.items import Catalogue
from ..catalog.late_encoders import build_encoders
from ..catalog.overlay import Overlay
from ..catalog.search import Searcher
from ..catalog.views import item_text
from ..catalog.words import WordIndex, open_words
from ..catalog.workspace import Build, Workspace
from ..errors import UserError
from ..profiles.opening import open_store
from ..profiles.store import ProfileStore
from ..ranking.labels import label_matrix, labelling
from ..ranking.models import ItemView, Models, read_models
from ..tools.base import Knowledge

if TYPE_CHECKING:
    from ..catalog.encoders import ImageEncoder, TextEncoder
    from ..catalog.interactions import Interactions
    from ..causal.report import BiasReport

log = logging.getLogger(__name__)

#: Environment variable with the URL of the Chroma server.
CHROMA_URL = "LLM4REC_CHROMA"


@dataclass(frozen=True)
class Opened:
    """An open workspace: what a build holds, and the live changes laid over it.

    Attributes:
        views: as built, without live changes.
        base: the catalogue as built.
        models: the fitted parts of the ranker.
    """

    workspace: Workspace
    build: Build
    base: Catalogue
    views: dict[str, ViewIndex]
    words: WordIndex
    text_encoder: TextEncoder
    image_encoder: ImageEncoder | None
    interactions: Interactions
    bias: BiasReport
    store: ProfileStore
    overlay: Overlay
    models: Models

    def close(self) -> None:
        for view in self.views.values():
            view.close()
        self.overlay.close()
        self.store.close()

    def knowledge(self) -> Knowledge:
        """What the tools read, with the live changes of this moment."""
        changes = self.overlay.snapshot()
        catalogue = changes.apply(self.base)
        for misfit in changes.misfits(self.base):
            log.warning("%s", misfit)
        views = {name: changes.apply_view(view, catalogue) for name, view in self.views.items()}
        for name, view in views.items():
            if stale := changes.unembedded(name, view.model_id):
                log.warning("%d live items have no %s vector of %s: update them", len(stale), name, view.model_id)
        live = [change.item for change in changes.all if change.item is not None]
        words = self.words.overlaid(
            np.array([catalogue.row_of[item.id] for item in live], dtype=np.int64),
            [item_text(item) for item in live],
            len(catalogue),
        )
        labels = labelling(catalogue.attributes)
        ranker = self.models.ranker(
            n_items=len(catalogue),
            views={name: ItemView(view.base, view.live_rows, view.live_vectors) for name, view in views.items()},
            labels=None if labels is None else label_matrix(catalogue.frame[labels]),
        )
        return Knowledge(
            build=self.build,
            catalogue=catalogue,
            interactions=self.interactions,
            searcher=Searcher(catalogue, views, self.text_encoder, self.image_encoder, words=words),
            ranker=ranker,
            counts=ranker.counts,
            bias=self.bias,
            store=self.store,
            version=changes.version,
        )


def open_workspace(root: Path, *, profiles: str | Path | None = None, recover: bool = False) -> Opened:
    """Open a workspace's current build and its stores.

    Args:
        profiles: where the profiles are kept, a path or a URL as for `open_store`; None: in the workspace.
        recover: as for `open_store`: go on with what can be read of a damaged file of profiles.

    Raises:
        MissingExtra: a PostgreSQL store, and psycopg is not installed.
        UserError: there is no finished build, or a file of it is damaged, or the profile store cannot be opened.
    """
    from ..causal.report import read_report

    workspace = Workspace(root)
    build = workspace.open()
    text_encoder, image_encoder = build_encoders(build)
    base = read_catalogue(build)
    # a server may have moved since the build: LLM4REC_CHROMA names where it is now
    url = (os.environ.get(CHROMA_URL) or build.manifest.chroma) if build.manifest.chroma else None
    views = {"text": open_view(build.path / "views", "text", text_encoder.model_id, url=url)}
    if image_encoder is not None:
        views["image"] = open_view(build.path / "views", "image", image_encoder.model_id, url=url)
    models = read_models(build.path / "models", ids=base.ids)
    workspace.state.mkdir(exist_ok=True)
    return Opened(
        workspace=workspace,
        build=build,
        base=base,
        views=views,
        words=open_words(build.path / "views" / "words"),
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        interactions=load_interactions(build.path),
        bias=read_report(build.path / "causal.json"),
        store=open_store(profiles or workspace.state / "profiles.sqlite", recover=recover),
        overlay=Overlay(workspace.state / "catalogue.sqlite"),
        models=models,
    )


def read_catalogue(build: Build) -> Catalogue:
    """The catalogue of a build.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = build.path / "items.parquet"
    try:
        catalogue = Catalogue(pl.read_parquet(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read ({error}): build the workspace again") from None
    if len(catalogue) != build.manifest.items:
        raise UserError(f"{path} holds {len(catalogue)} items, the manifest {build.manifest.items}: build again")
    return catalogue
