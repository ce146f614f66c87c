"""The demo: films, posters, and a log whose biases are the documented ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.demo import films, load_demo, log
from llm4rec.catalog.demo.motifs import MOTIFS
from llm4rec.catalog.demo.palettes import luminance, palette_for
from llm4rec.catalog.demo.posters import SIZE, draw_poster
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.readers.raw import INTERACTIONS, RawData
from PIL import Image


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return films()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> RawData:
    return load_demo(tmp_path_factory.mktemp("demo") / "posters")


@pytest.fixture(scope="module")
def simulation(catalogue: Catalogue) -> log.Simulation:
    return log.simulate(catalogue)


def test_films_are_whole_and_distinct(catalogue: Catalogue) -> None:
    assert len(catalogue) >= 500
    assert len(set(catalogue.ids)) == len(catalogue)
    for film in catalogue:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", film.id)
        assert film.title
        assert film.description
        assert film.image == f"{film.id}.jpg"
        # A documentary may have no cast.
        assert set(film.attributes) | {"cast"} == {
            "year", "runtime", "genres", "director", "cast", "country", "moods",
        }  # fmt: skip
    kinds = {name: spec.kind for name, spec in catalogue.attributes.items()}
    assert [name for name, kind in kinds.items() if kind == "number"] == ["year", "runtime"]
    years = catalogue.frame["year"].to_list()
    assert years == sorted(years)
    assert min(years) >= 1895


def test_every_genre_has_a_drawing(catalogue: Catalogue) -> None:
    assert set(catalogue.attributes["genres"].values) <= set(MOTIFS)


def test_demo_is_marked_as_simulated_and_complete(demo: RawData) -> None:
    assert demo.simulated
    assert demo.kind == "demo"
    assert any("simulated" in note for note in demo.notes)
    assert set(demo.images) == set(demo.catalogue.ids)
    assert {path.name for path in demo.images.values()} == set(demo.catalogue.frame["image"])
    assert all(path.is_absolute() for path in demo.images.values())
    frame = demo.interactions.collect()
    assert dict(frame.schema) == dict(INTERACTIONS)
    assert set(frame["user"]) <= set(demo.users["user"])
    assert set(frame["item"]) <= set(demo.catalogue.ids)


def test_posters_are_pictures_and_all_distinct(demo: RawData) -> None:
    pictures = {path.read_bytes() for path in demo.images.values()}
    assert len(pictures) == len(demo.images)
    pixels = set()
    for path in demo.images.values():
        with Image.open(path) as picture:
            assert (picture.format, picture.size, picture.mode) == ("JPEG", SIZE, "RGB")
            # Above the title: the drawing itself differs, not the lettering alone.
            pixels.add(picture.crop((0, 0, SIZE[0], 200)).resize((20, 20)).tobytes())
    assert len(pixels) > 0.98 * len(demo.images)


def test_a_poster_is_the_same_every_time(catalogue: Catalogue) -> None:
    film = catalogue.item(17)
    assert draw_poster(film).tobytes() == draw_poster(film).tobytes()


@settings(max_examples=30, deadline=None)
@given(
    title=st.text(max_size=120),
    genres=st.lists(st.sampled_from([*MOTIFS, "Unheard of"]), max_size=3),
    moods=st.lists(st.sampled_from(["funny", "dark", "unheard of"]), max_size=3),
)
def test_any_film_gets_a_poster(title: str, genres: list[str], moods: list[str]) -> None:
    film = Item("x", title, attributes={"genres": tuple(genres), "moods": tuple(moods), "director": ("Z. Żółć",)})
    assert draw_poster(film).size == SIZE


def test_titles_can_be_read(catalogue: Catalogue) -> None:
    import random

    for number in range(300):
        colours = palette_for((), random.Random(number))
        assert abs(luminance(colours.ink) - luminance(colours.near)) > 90


def test_log_is_a_plausible_year(simulation: log.Simulation) -> None:
    frame = simulation.interactions
    assert 25_000 <= frame.height <= 30_000
    assert frame["user"].n_unique() == log.USERS
    assert frame.select(pl.struct("user", "item").n_unique()).item() == frame.height
    assert set(frame["value"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert frame["time"].is_sorted()
    assert frame["time"].is_between(log.START, log.START + log.DAYS * 86_400).all()
    assert set(simulation.users["age_group"]) == set(log.AGE_GROUPS)


def test_log_is_the_same_every_time(catalogue: Catalogue, simulation: log.Simulation) -> None:
    again = log.simulate(catalogue)
    assert again.interactions.equals(simulation.interactions)
    assert again.users.equals(simulation.users)
    assert not log.simulate(catalogue, seed=1).interactions.equals(simulation.interactions)


def test_popular_films_hold_most_of_the_log(catalogue: Catalogue, simulation: log.Simulation) -> None:
    counts = simulation.interactions["item"].value_counts(sort=True)["count"].to_numpy()
    top = counts[: len(catalogue) // 10].sum() / counts.sum()
    assert 0.3 < top < 0.6


def test_conformity_is_what_popularity_adds_and_nothing_else(catalogue: Catalogue, simulation: log.Simulation) -> None:
    without = log.simulate(catalogue, conformity=0.0)
    same = [name for name in simulation.interactions.columns if name != "value"]
    assert simulation.interactions.select(same).equals(without.interactions.select(same))
    earlier = simulation.interactions.select(pl.int_range(pl.len()).over("item")).to_series().to_numpy()
    added = (simulation.interactions["value"] - without.interactions["value"]).to_numpy()
    assert (added >= 0).all()
    assert (added[earlier == 0] == 0).all()
    # Seven doublings are 0.7 stars, less what rounding at the ends of the scale takes away.
    assert 0.5 < added[(earlier >= 127) & (earlier < 160)].mean() < 0.75
    assert without.effect == 0.0
    assert 0.8 * log.CONFORMITY < simulation.effect <= log.CONFORMITY


def test_readme_gives_the_numbers_of_the_code() -> None:
    text = (Path(log.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", text, flags=re.MULTILINE))
    assert {"CONFORMITY", "FAME_QUALITY", "ZIPF", "RICH", "SELECTION"} <= set(table)
    for name, value in table.items():
        assert np.isclose(getattr(log, name), float(value)), name
