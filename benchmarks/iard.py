"""Dialogues of real people as a test of planning: IARD's seeker turns, and which tools each intent asks for.

IARD (Cai & Chen 2020, Predicting User Intents and Satisfaction with Dialogue-based Conversational Recommendations,
UMAP) labels every utterance of dialogues between two people, one of whom recommends films to the other. The planner
gets the seeker's utterance in the recommender's place: what was said before as the thread, and the films that the
human recommender named last as the list on the table.

The map from intents to tools was written down from what the intents mean, before any planner was scored on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from llm4rec.agent.tuning.shells import Shell, make_shell
from llm4rec.catalog.text import fold

#: A film as the dialogues mention it; in some the number is missing.
_MENTION = re.compile(r"(?:@\d+\s*)?<\s*([^<>]*?)\s*>")
_YEAR = re.compile(r"\s*\(\d{4}\)$")
#: Films in a list on the table, at most: as many as a turn shows.
MOST_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """What an intent asks of a plan.

    Attributes:
        one_of: tools of which one must be called; empty: none must.
        allowed: tools that may be called beside them, or instead of a plain reply.
        meaning: of the intent. why: it asks for these tools.
    """

    one_of: frozenset[str]
    allowed: frozenset[str]
    meaning: str
    why: str


def _wanted(one_of: str, allowed: str, meaning: str, why: str) -> Wanted:
    return Wanted(frozenset(one_of.split()), frozenset(allowed.split()), meaning, why)


INTENTS: Mapping[str, Wanted] = {
    "IQU": _wanted(
        "search_items recommend",
        "record_feedback",
        "asks for a recommendation for the first time",
        "a wish is answered by a list; many name films they like as they ask, which is worth a record",
    ),
    "CON": _wanted(
        "recommend search_items",
        "record_feedback",
        "asks for more recommendations",
        "more of them is another list; why the last one will not do may be said, too",
    ),
    "REF": _wanted(
        "search_items recommend",
        "record_feedback",
        "says the wish again, or more clearly",
        "the wish is to be answered anew",
    ),
    "STO": _wanted(
        "search_items recommend",
        "record_feedback",
        "begins a new wish",
        "a new wish is answered by a new list",
    ),
    "PRO": _wanted(
        "record_feedback search_items",
        "recommend",
        "tells a preference",
        "a taste is recorded, or searched for at once; a recommendation alone would drop what was told",
    ),
    "ANS": _wanted(
        "record_feedback search_items recommend",
        "",
        "answers the recommender's question",
        "the answer is a taste, a film seen, or what the wish was missing: the question is not known to this map",
    ),
    "ASK": _wanted(
        "",
        "describe_item explain recommend search_items",
        "asks for the recommender's own opinion",
        "of itself the program can only tell in a plain reply; of a film, its facts or the reason for it will do; "
        "what it would choose is a recommendation",
    ),
    "SEE": _wanted(
        "record_feedback",
        "recommend search_items",
        "has seen the film, liked or not",
        "what was seen and how it was is recorded; another one may follow",
    ),
    "ACC": _wanted(
        "",
        "record_feedback",
        "accepts a recommendation",
        "a film taken is recorded as liked; thanks for all of them are answered in words",
    ),
    "REJ": _wanted(
        "record_feedback",
        "recommend search_items",
        "rejects a recommendation",
        "a refusal is recorded; another one may follow",
    ),
    "INQ": _wanted(
        "describe_item",
        "explain",
        "asks about the film",
        "a question about one item has one tool; of why it was named, another may tell, too",
    ),
    "CRI-F": _wanted(
        "record_feedback search_items",
        "recommend",
        "criticises a feature of the film",
        "the opinion is recorded, or searched around",
    ),
    "CRI-A": _wanted(
        "search_items recommend",
        "record_feedback",
        "adds a constraint",
        "the wish has changed: a new list, by subject or by filters",
    ),
    "CRI-C": _wanted(
        "search_items",
        "record_feedback",
        "wants something like, or unlike, this one",
        "likeness is what search_items takes",
    ),
    "NRE": _wanted(
        "",
        "describe_item recommend search_items record_feedback",
        "responds neutrally: has not seen it, does not know it",
        "nothing is asked: words will do, and so will telling more or going on",
    ),
    "OTH": _wanted(
        "",
        "",
        "greets, thanks, chats, takes leave",
        "small talk is answered in words",
    ),
}


def right(labels: Sequence[str], called: Sequence[str]) -> bool:
    """Whether a plan does what the labels of a turn ask.

    Each label that asks for a tool gets one of its tools (a call may serve several labels), and nothing is called that
    no label asks for or allows. Where no label asks for a tool, words are right, too.

    Raises:
        KeyError: an unknown label.
    """
    wanted = [INTENTS[label] for label in labels]
    fair = frozenset().union(*(one.one_of | one.allowed for one in wanted))
    return set(called) <= fair and all(not one.one_of or one.one_of & set(called) for one in wanted)


@dataclass(frozen=True)
class Turn:
    """A seeker's turn.

    Attributes:
        dialogue: its id.
        labels: the intents, each once, in alphabetical order.
        say: the utterance, films by their plain titles.
        past: what was said before, the recommender's words as the assistant's.
        shown: titles of the films that the recommender named last, at most five.
    """

    dialogue: str
    labels: tuple[str, ...]
    say: str
    past: tuple[AnyMessage, ...]
    shown: tuple[str, ...]


def plain(text: str) -> str:
    """An utterance with films by their plain titles, without numbers and years."""
    return " ".join(_MENTION.sub(lambda found: f" {_title(found[1])} ", text).split())


def mentioned(text: str) -> list[str]:
    """The films of an utterance, each once, in its order."""
    titles = (_title(found) for found in _MENTION.findall(text))
    return list({fold(title): title for title in reversed(list(titles)) if fold(title)}.values())[::-1]


def _title(mention: str) -> str:
    return " ".join(_YEAR.sub("", mention.strip()).split())


def read_turns(path: Path) -> tuple[Turn, ...]:
    """The seekers' turns of the dialogues file, in its order.

    Raises:
        KeyError: the file lacks what every utterance has, or has a label of no known intent.
    """
    dialogues = json.loads(path.read_text(encoding="utf-8"))
    return tuple(turn for name, dialogue in dialogues.items() for turn in _turns(name, dialogue["dialogue_info"]))


def _turns(dialogue: str, utterances: Mapping[str, Any]) -> Iterator[Turn]:
    past: list[AnyMessage] = []
    shown: list[str] = []
    for utterance in sorted(utterances.values(), key=lambda one: int(one["utterance_pos"])):
        said = plain(utterance["utterance_text"])
        if utterance["role"] == "seeker":
            labels = tuple(sorted(set(utterance["sub-intent/action"])))
            unknown = set(labels) - INTENTS.keys()
            if unknown:
                raise KeyError(f"dialogue {dialogue}: no intent {', '.join(sorted(unknown))}")
            yield Turn(dialogue, labels, said, tuple(past), tuple(shown))
            past.append(HumanMessage(said))
        else:
            past.append(AIMessage(said))
            shown = mentioned(utterance["utterance_text"])[:MOST_SHOWN] or shown


def shell_for(path: Path) -> Shell:
    """A catalogue of films that holds every film the dialogues name."""
    dialogues = json.loads(path.read_text(encoding="utf-8"))
    titles: dict[str, str] = {}
    for dialogue in dialogues.values():
        for utterance in dialogue["dialogue_info"].values():
            for title in mentioned(utterance["utterance_text"]):
                titles.setdefault(fold(title), title)
    return make_shell("films", titles=list(titles.values()))
