"""The demo: real films (facts and our own one-line plots), drawn posters, and a simulated log."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from ..items import AttributeValue, Catalogue, Item
from ..readers.raw import Progress, RawData, no_progress

NAME = "demo films"
_NUMBERS = ("year", "runtime")
_LABELS = ("genres", "director", "cast", "country", "moods")


def films() -> Catalogue:
    """The demo's films, oldest first.

    Attributes: numbers ``year`` and ``runtime`` (minutes); labels ``genres``, ``director``, ``cast``, ``country`` and
    ``moods``. ``image`` is ``<id>.jpg``.
    """
    lines = (resources.files(__package__) / "films.jsonl").read_text(encoding="utf-8").splitlines()
    return Catalogue.of(sorted(map(_film, map(json.loads, lines)), key=lambda film: (film.attributes["year"], film.id)))


def load_demo(images_dir: Path, progress: Progress = no_progress) -> RawData:
    """Draw the posters into a folder and make up the log.

    Args:
        images_dir: made when it is absent; posters there are drawn anew.
        progress: told how far the drawing and the simulation are.

    Returns:
        kind ``demo``, marked as simulated. The same every time.

    Raises:
        OSError: the folder cannot be written.
    """
    from .log import simulate
    from .posters import draw_posters

    catalogue = films()
    images = draw_posters(list(catalogue), images_dir, progress)
    simulation = simulate(catalogue, progress=progress)
    return RawData(
        name=NAME,
        kind="demo",
        catalogue=catalogue,
        interactions=simulation.interactions.lazy(),
        users=simulation.users,
        images=images,
        notes=(
            "the films are real, their posters are drawn for this demo",
            "the log is simulated: its users, ratings and times are made up, with known biases",
        ),
        simulated=True,
    )


def _film(record: dict[str, object]) -> Item:
    attributes: dict[str, AttributeValue] = {name: float(str(record[name])) for name in _NUMBERS}
    for name in _LABELS:
        values = record[name]
        attributes[name] = tuple(str(value) for value in values) if isinstance(values, list) else (str(values),)
    return Item(
        id=str(record["id"]),
        title=str(record["title"]),
        description=str(record["description"]),
        image=f"{record['id']}.jpg",
        attributes=attributes,
    )
