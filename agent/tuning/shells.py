"""Catalogues to talk about while tuning: what can be asked for in five trades.

A shell is a catalogue without descriptions. It is there for the tools and the prompt that follow from it, which are
made by the same code as in a real workspace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np

from ...catalog.items import Catalogue, Item
from ...tools import toolbox
from ...tools.base import Tool
from ...tools.facets import Facets, choose_facets

Domain = Literal["films", "shop", "books", "games", "restaurants"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

#: Countries that a shell of films may be filtered by.
COUNTRIES = (
    "Argentina", "Australia", "Austria", "Belgium", "Brazil", "Canada", "China", "Czechoslovakia", "Denmark", "France",
    "Germany", "Hong Kong", "Hungary", "India", "Iran", "Ireland", "Italy", "Japan", "Mexico", "New Zealand", "Norway",
    "Poland", "Romania", "South Africa", "South Korea", "Soviet Union", "Spain", "Sweden", "Taiwan", "UK", "USA",
)  # fmt: skip


@dataclass(frozen=True)
class Trade:
    """What the items of a domain have.

    Attributes:
        choice: the attribute of few labels.
        named: the attribute of many names.
        numbers: lowest and highest value by attribute.
    """

    choice: str
    named: str
    numbers: Mapping[str, tuple[int, int]]


TRADES: Mapping[Domain, Trade] = {
    "films": Trade("genres", "cast", {"year": (1920, 2025), "runtime": (60, 240)}),
    "shop": Trade("category", "brand", {"price": (1, 400), "stars": (1, 5)}),
    "books": Trade("genres", "author", {"year": (1800, 2025), "pages": (60, 1200)}),
    "games": Trade("genres", "maker", {"year": (1970, 2025), "players": (1, 10), "minutes": (5, 300)}),
    "restaurants": Trade("cuisine", "district", {"price": (5, 200), "stars": (1, 5)}),
}


@cache
def lexicon() -> Mapping[str, Any]:
    """What slots are filled with, by domain: titles, people, subjects, moods, labels."""
    found: Mapping[str, Any] = json.loads((files(__package__) / "corpus" / "lexicon.json").read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Shell:
    """A catalogue and its tools.

    Attributes:
        domain: of the items.
        catalogue: items with titles and attributes.
        facets: what can be asked for.
    """

    domain: Domain
    catalogue: Catalogue
    facets: Facets

    def tools(self, ordinals: int = 5) -> Mapping[str, Tool]:
        """The toolbox with a list of so many items on the table."""
        return toolbox(self.facets, ordinals=ordinals)


def make_shell(
    domain: Domain,
    *,
    titles: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    numbers: Sequence[str] | None = None,
    countries: bool = False,
    seed: int = 0,
) -> Shell:
    """A shell of a domain.

    Args:
        titles: further ones, beside those of the lexicon.
        labels: of the attribute of few labels; None: all of the domain.
        numbers: attributes with numbers; None: all of the domain.
        countries: whether films can be filtered by country too.
        seed: of which item has what.
    """
    rng = np.random.default_rng(seed)
    trade, words = TRADES[domain], lexicon()[domain]
    kept = list(labels) if labels is not None else list(words["labels"])
    counted = [name for name in trade.numbers if numbers is None or name in numbers]
    items = []
    for at, title in enumerate(dict.fromkeys([*words["titles"], *titles])):
        attributes: dict[str, Any] = {
            trade.choice: (kept[at % len(kept)],),
            trade.named: (words["people"][at % len(words["people"])],),
        }
        for name in counted:
            low, high = trade.numbers[name]
            # the ends are there, so that the range of a filter is the domain's
            attributes[name] = float((low, high)[at]) if at < 2 else float(rng.integers(low, high + 1))
        if countries and domain == "films":
            attributes["country"] = (COUNTRIES[at % len(COUNTRIES)],)
        items.append(Item(f"{domain}-{at}", title, attributes=attributes))
    catalogue = Catalogue.of(items)
    return Shell(domain, catalogue, choose_facets(catalogue))
