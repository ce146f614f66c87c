"""Keeping a small planner to what was said: the schemas of a plan's tools narrowed to one message.

A 135 M-parameter model that is asked for a search writes "Hitchcock" because an example did. So the schemas it
decodes under are narrowed before each plan: titles and names are those the message holds, other text is made of its
words, numbers are those it names (with decades unfolded), labels those it names or means, ordinals those it points
at, a verdict what its words say. What the message leaves no choice in is required. The narrowing shapes decoding
alone: what comes back is validated against the full schema like any call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol

from ..catalog.text import fold, one_line
from ..tools.facets import beyond
from ..tools.mentions import Mentions
from ..tools.wording import LAST

#: Decimals of a bound that follows from a list, where an attribute has any: a price in cents.
FINE = 2
#: JSON-schema keyword that our grammar knows: the string is made of these words, in their order.
WORDS = "x-words"

Schema = dict[str, Any]


class LabelsMeant(Protocol):
    """Of some labels, those a message wants and those it refuses; loosely: also those it means without saying."""

    def __call__(self, labels: Sequence[str], mentions: Mentions, *, loosely: bool) -> tuple[set[str], set[str]]: ...


@dataclass(frozen=True)
class Ground:
    """What a plan may be made of.

    Attributes:
        message: what the user said. mentions: what it names.
        labels: finds the labels meant.
        examples: the nearest demonstrations, nearest first: the arguments each gives its tools.
        taste: whether feedback is on a taste, not on an item. like: whether a search is for what is like an item.
            told: whether feedback is part of the message, so that a wish is only the rest of it.
        shown: the numbers of the list on the table, by attribute. query: what that list answers, where the message
            only narrows it down.
        focus: what "it" is when nothing is named: ``{"ordinal": 2}`` or ``{"title": ...}``.
    """

    message: str
    mentions: Mentions
    labels: LabelsMeant
    examples: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    taste: bool = False
    like: bool = False
    told: bool = False
    shown: Mapping[str, Sequence[float]] = field(default_factory=dict)
    query: str | None = None
    focus: Mapping[str, Any] = field(default_factory=dict)

    def after(self, arguments: Mapping[str, Any]) -> Ground:
        """What the calls after a call may be made of: a taste just disliked is refused."""
        if arguments.get("verdict") != "dislike" or not arguments.get("about"):
            return self
        said = self.mentions
        disliked = set(fold(" ".join((arguments["about"], *said.told_words))).split())
        unwanted = tuple(name for name in said.names if disliked.intersection(fold(name).split()))
        return replace(
            self,
            mentions=replace(
                said,
                refused=said.refused | disliked,
                names=tuple(name for name in said.names if name not in unwanted),
                refused_names=(*said.refused_names, *unwanted),
            ),
        )


def narrow(tool: Mapping[str, Any], ground: Ground) -> dict[str, Any]:
    """A tool description (OpenAI form) narrowed to a message: optional arguments with nothing to be made of are gone,
    those that the message leaves no choice in are required."""
    function = deepcopy(dict(tool["function"]))
    parameters = function["parameters"]
    examples = [example.get(function["name"], {}) for example in ground.examples]
    full: Mapping[str, Schema] = parameters.get("properties", {})
    fields = _Fields(ground, examples, full)
    properties: dict[str, Schema] = {}
    required: list[str] = list(parameters.get("required", []))
    for name, schema in full.items():
        narrowed, must = fields.narrowed(name, schema)
        if narrowed is None:
            if name in required:
                properties[name] = schema
            continue
        properties[name] = narrowed
        if must and name not in required:
            required.append(name)
    function["parameters"] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return {"type": "function", "function": function}


def only_choice(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a narrowed tool where there is one way to give them, else None."""
    parameters = tool["function"]["parameters"]
    found: dict[str, Any] = {}
    for name, schema in parameters["properties"].items():
        if name not in parameters["required"] or len(schema.get("enum", ())) != 1:
            return None
        found[name] = schema["enum"][0]
    return found


class _Fields:
    """The arguments of one tool."""

    def __init__(self, ground: Ground, examples: Sequence[Mapping[str, Any]], full: Mapping[str, Schema]) -> None:
        self._ground = ground
        self._said = ground.mentions
        self._examples = examples
        self._nearest = examples[0] if examples else {}
        self._full = full
        self._subject = self._which_subject()

    def narrowed(self, name: str, schema: Schema) -> tuple[Schema | None, bool]:
        """An argument's schema (None: the message has nothing for it) and whether it must be given."""
        said = self._said
        if name in ("ordinal", "title", "about"):
            return (self._subject_schema(name, schema), True) if name == self._subject else (None, False)
        if name == "like":
            return (_one_of(said.titles or self._places() or said.unknown) if self._ground.like else None), True
        if name in ("named", "not_named"):
            names = said.refused_names if name == "not_named" else said.names
            return _one_of(names), name in self._nearest or any(" " in one for one in names)
        if name == "query":
            return self._query(schema)
        if name == "verdict":
            return self._verdict(schema), True
        if name == "rating":
            grade = _on_scale(said.grade, schema)
            return ({"type": "integer", "enum": [grade]} if grade is not None else None), True
        if name == "scope":
            return (_one_of(("tonight",)) if said.passing and self._ground.taste else None), True
        if _is_bound(name):
            return self._bound(name, schema)
        if self._is_label(name):
            return self._label(name, schema)
        if schema.get("type") == "string" and "enum" not in schema:
            return ({**schema, WORDS: list(said.telling)} if said.telling and name in self._nearest else None), False
        return (schema, False) if name in self._nearest else (None, False)

    def _which_subject(self) -> str | None:
        """Which of ``title``, ``ordinal`` and ``about`` says what a call is about."""
        said, focus, offered = self._said, self._ground.focus, self._full
        if "about" in offered and self._ground.taste and said.told_words:
            return "about"
        ways = (
            ("ordinal", bool(said.places) and not said.titles),
            ("title", bool(said.titles or said.unknown)),
            ("ordinal", "title" not in focus),
            ("title", "title" in focus),
            ("about", bool(said.told_words)),
        )
        return next((name for name, possible in ways if possible and name in offered), None)

    def _subject_schema(self, name: str, schema: Schema) -> Schema | None:
        said = self._said
        if name == "about":
            return _one_of((said.told_label,)) if said.told_label else {**schema, WORDS: list(said.told_words)}
        if name == "title":
            focus = [self._ground.focus["title"]] if "title" in self._ground.focus else []
            return _one_of((said.titles or said.unknown or focus)[:1])  # the first opinion is of the first title
        last = int(schema.get("maximum", 1))
        places = [last if place == LAST else place for place in said.places]
        within = [place for place in places if 1 <= place <= last]
        return {"type": "integer", "enum": within[:1] or [min(int(self._ground.focus.get("ordinal", 1)), last)]}

    def _query(self, schema: Schema) -> tuple[Schema | None, bool]:
        """What is searched for: the telling words of the wish, all of them (a small model drops the ones that matter);
        beside a likeness only where they add something."""
        said, ground = self._said, self._ground
        if ground.query is not None:
            return _one_of((ground.query,)), True
        words = said.beside_words if ground.like else said.wish_words if ground.told else said.telling
        return _one_of((one_line(" ".join(words), int(schema.get("maxLength", 120))),) if words else ()), True

    def _places(self) -> tuple[str, ...]:
        """Shown items that the message points at, in words that tools understand."""
        places = tuple("last" if place == LAST else f"number {place}" for place in self._said.places)
        if not places and self._said.points:
            focus = self._ground.focus
            return (str(focus["title"]) if "title" in focus else f"number {focus.get('ordinal', 1)}",)
        return places

    def _verdict(self, schema: Schema) -> Schema:
        options: list[str] = list(schema["enum"])
        if self._ground.taste:
            options = [option for option in options if option in ("like", "dislike")]
        said = self._said.opinion or _verdict_of(_on_scale(self._said.grade, self._full["rating"]), self._full)
        if said in options:
            return {"type": "string", "enum": [said]}
        near = [option for option in options if any(example.get("verdict") == option for example in self._examples)]
        return {"type": "string", "enum": near or options}

    def _bound(self, name: str, schema: Schema) -> tuple[Schema | None, bool]:
        """A number that was said is meant: where it fits one attribute only it must be used."""
        ends = self._said.highs if name.endswith("_max") else self._said.lows
        fitting: list[float] = [n for n in ends if _within(n, schema)] or self._beyond_shown(name)
        if not fitting:
            return None, False
        number = max(fitting) if name.endswith("_max") else min(fitting)
        rivals = [
            other
            for other, its in self._full.items()
            if other != name and other.endswith(name[-4:]) and _within(number, its)
        ]
        return {"type": schema.get("type", "integer"), "enum": [number]}, not rivals or name in self._nearest

    def _beyond_shown(self, name: str) -> list[float]:
        """The bound of a comparison with the list on the table ("newer"): its middle."""
        attribute, end = name[:-4], "high" if name.endswith("_max") else "low"
        values = self._ground.shown.get(attribute)
        if not values or (attribute, end) not in self._said.leanings:
            return []
        fine = self._full[name].get("type") == "number"
        return [beyond(median(values), FINE if fine else 0, up=end == "low")]

    def _is_label(self, name: str) -> bool:
        """Whether an argument takes labels of the catalogue: it can be asked for and left out."""
        plain = name.removeprefix("not_")
        return plain in self._full and f"not_{plain}" in self._full and "enum" in self._full[name]

    def _label(self, name: str, schema: Schema) -> tuple[Schema | None, bool]:
        """Labels filter where the nearest demonstration filters by labels or numbers, where there is no query to carry
        them, and where they are names: "a *family* tricks another" asks for no family film."""
        filters = any(self._is_label(one) or _is_bound(one) for one in self._nearest)
        wanted, refused = self._ground.labels(schema["enum"], self._said, loosely=filters)
        found = refused if name.startswith("not_") else wanted
        if not filters and "query" in self._full:
            found = {label for label in found if set(fold(label).split()) <= self._said.uncommon}
        return _one_of([label for label in schema["enum"] if label in found]), True


def _is_bound(name: str) -> bool:
    return name.endswith(("_min", "_max"))


def _within(number: float, schema: Schema) -> bool:
    return bool(schema.get("minimum", number) <= number <= schema.get("maximum", number))


def _on_scale(grade: tuple[int, int | None] | None, schema: Schema) -> int | None:
    """A grade on the schema's scale; None where it does not fit."""
    if grade is None:
        return None
    number, of = grade
    top = schema.get("maximum")
    if of is not None and top is not None and of != top:
        number = round(number * top / of)
    return number if _within(number, schema) else None


def _verdict_of(grade: int | None, full: Mapping[str, Schema]) -> str | None:
    """What a grade says of the item."""
    if grade is None:
        return None
    middle = (full["rating"]["minimum"] + full["rating"]["maximum"]) / 2
    return "like" if grade > middle else "dislike" if grade < middle else "seen"


def _one_of(values: Sequence[str]) -> Schema | None:
    return {"type": "string", "enum": list(dict.fromkeys(values))} if values else None
