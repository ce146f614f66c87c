"""What an example is about: a catalogue as the planner is told of it, and the words to speak of it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from ...catalog.items import Catalogue
from ...graphs.prompting import system_message
from ...tools import toolbox
from ...tools.base import Tool
from ...tools.facets import choose_facets
from .phrasings import Call
from .shells import TRADES, Domain, lexicon, make_shell

#: Labels that other catalogues of films call otherwise.
RENAMED = {"Sci-Fi": "Science Fiction", "Family": "Children's"}
#: Titles and names of a catalogue of one's own that are spoken of, at most.
MOST_WORDS = 3000


@dataclass(frozen=True)
class Variant:
    """A catalogue to speak of.

    Attributes:
        domain: whose phrasings fit it.
        names: what it calls each label of the domain that it has.
        tools: with a list on the table. system: the constant part of the prompt.
        words: titles, people, subjects, moods and labels, as in the lexicon.
    """

    domain: Domain
    names: Mapping[str, str]
    tools: Mapping[str, Tool]
    system: str
    words: Mapping[str, Any]

    def has(self, calls: Sequence[Call]) -> bool:
        """Whether all that is filtered by is there, but for labels: one that is not there is asked for in words."""
        choice = TRADES[self.domain].choice
        worded = (choice, f"not_{choice}")
        for name, args in calls:
            fields = self.tools[name].arguments.model_fields
            if any(key not in fields and key not in worded for key in args):
                return False
            if any(f"{args[way]}_min" not in fields for way in ("more", "less") if way in args):
                return False
        return True


@cache
def variants_of(domain: Domain) -> tuple[Variant, ...]:
    """Shells of a domain: whole, with fewer labels, with other names for them, with fewer numbers."""
    rng = Random(f"{domain} variants")
    labels = list(lexicon()[domain]["labels"])
    made = [_shell(domain, {}), _shell(domain, {}, numbers=list(TRADES[domain].numbers)[:1])]
    for _ in range(2):
        made.append(_shell(domain, {}, without=[label for label in labels if rng.random() >= 0.75]))
    if domain == "films":
        renamed = {"Sci-Fi": RENAMED["Sci-Fi"]}
        made.append(_shell(domain, renamed, without=("Biography", "Musical", "Sport"), countries=True))
        renamed = {"Family": RENAMED["Family"]}
        made.append(_shell(domain, renamed, without=("Biography", "History", "Music", "Sport"), countries=True))
        made.append(_shell(domain, {}, countries=True))
    return tuple(made)


def own_variant(domain: Domain, catalogue: Catalogue) -> Variant:
    """A real catalogue, spoken of with the phrasings of a domain."""
    rng = Random(0)
    facets = choose_facets(catalogue)
    tools = toolbox(facets, ordinals=5)
    words = lexicon()[domain]
    spec = next((one for one in facets.choices if one.name == TRADES[domain].choice), None)
    there = {} if spec is None else {str(value): str(value) for value in spec.values}
    people = [str(value) for one in facets.names for value in one.values]
    titles = [str(title) for title in dict.fromkeys(catalogue.frame["title"].to_list())]
    enough = len(titles) >= 20
    return Variant(
        domain=domain,
        names=there,
        tools=tools,
        system=str(system_message(tools).content),
        words={
            **words,
            "titles": rng.sample(titles, min(len(titles), MOST_WORDS)) if enough else words["titles"],
            "people": rng.sample(people, min(len(people), MOST_WORDS)) if len(people) >= 20 else words["people"],
            "labels": {
                label: words["labels"].get(label, {"n": [label.lower()], "s": [label.lower()]})
                for label in (there if len(there) >= 4 else words["labels"])
            },
        },
    )


def _shell(
    domain: Domain,
    renamed: Mapping[str, str],
    *,
    without: Sequence[str] = (),
    numbers: Sequence[str] | None = None,
    countries: bool = False,
) -> Variant:
    words = lexicon()[domain]
    names = {label: renamed.get(label, label) for label in words["labels"] if label not in without}
    shell = make_shell(domain, labels=list(names.values()), numbers=numbers, countries=countries)
    tools = shell.tools()
    return Variant(domain, names, tools, str(system_message(tools).content), words)
