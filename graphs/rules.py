"""A planner with no language model: patterns over plain English. Used when there is none, and the reply says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, ToolCall

from ..catalog.items import Catalogue
from ..tools import wording
from ..tools.facets import Facets
from ..tools.mentions import MentionIndex, Mentions, labels_said, wanted_and_refused
from ..tools.results import numbers_shown
from .demonstrations import FEEDBACK, Shape
from .grounding import WORDS, Ground, narrow
from .planner import ASKED, PlanRequest, focus_of

SEARCH, RECOMMEND = Shape(("search_items",)), Shape(("recommend",))
#: A message of at most this many telling words filters by the labels it names; a longer one tells a story.
MOST_FILTER_WORDS = 6
TALK = "Tell me a mood, a subject, or a title you liked, and I will look."

_TALK = re.compile(
    r"(?:hi|hiya|hello|hey|thanks?|thx|cheers|ok|okay|great|perfect|bye|goodbye|see you|lol|haha"
    r"|good (?:morning|evening|night|afternoon))\b"
    r"(?: (?:there|mate|you|so|very|much|a lot|ok|thanks?|perfect|cheers|for that))*[ .!]*"
)
_WHY = re.compile(
    r"\bwhy\b|\bhow come\b|\bexplain\b|\breasons?\b|\bbased on\b|\b(?:basis|grounds)\b|\bwhat makes you\b"
    r"|\bhow did you (?:choose|pick|come|find)\b|\bhow do you know\b|\bjustify\b"
)
_BIAS = re.compile(
    r"\bpopular(?:ity)?\b|\bbias(?:ed)?\b|\bmainstream\b|\bblockbusters?\b|\bfamous\b|\btrending\b|\bbest ?sellers?\b"
    r"|\bhits\b|\bskewed\b|\bwell-known\b|\b(?:everybody|everyone)\b|\bfair(?:ly)?\b|\bfilter bubble\b"
)
_HISTORY = re.compile(
    r"\b(?:have|did|had|do) i\b|\bmy (?:history|ratings?|profile|tastes?|last|favou?rites so far|likes)\b|\babout me\b"
    r"|^(?:list|show|which|what)\b.*\bi (?:rated|liked|watched|saw|told|said|gave|disliked|bought)\b"
)
_LIKENESS = re.compile(
    r"\b(?:like|similar|in the (?:vein|style) of|lines of|vibe|mood|feels? like|resembles?|close to|same as|reminds?)\b"
)
_TASTE = re.compile(
    r"\b(?:i|we|my \w+)\b.*\b(?:love|like|enjoy|adore|hate|dislike|loathe|prefer|dig|stand|bear|into|fan|sucker"
    r"|weakness)s?\b|\bnot (?:my thing|for me|into|in the mood)\b|\b(?:never|stop|don['’]?t) (?:show|recommend|suggest)"
    r"|\bno more\b|\b(?:sick|tired) of\b|\bmy favou?rites?\b|^(?:please )?no \w+"
)
_RECOMMEND = re.compile(
    r"\b(?:recommend|suggest|surprise me|what should (?:i|we)|anything good|what['’]?s good|pick|choose|decide"
    r"|no idea|what to (?:watch|read|buy|eat)|top \d+|top picks|best for me|another (?:batch|one)|next|others"
    r"|what else|bored)\b"
)
_PARTICULAR = re.compile(r"\b(?:about|where)\b|\bwith (?!another)")
_ASKED_FACT = re.compile(
    r"\b(?:who|what|whats|when|where|how|which|is|does|did|can|could|are|tell me|info|plot|remind)\b"
)


class RulePlanner:
    """Knows the tools and the catalogue's own words, and nothing else.

    Args:
        facets: the attributes that can be asked for.
        mentions: reads a message against the catalogue; without it no title or name is recognised.
    """

    name = "rules"

    def __init__(self, facets: Facets, mentions: Callable[[str], Mentions] | None = None) -> None:
        self._labels = tuple(spec.name for spec in facets.choices)
        self._read = mentions or MentionIndex(Catalogue.of([]), Facets((), (), ())).read

    def plan(self, request: PlanRequest) -> AIMessage:
        if request.failures:
            return AIMessage("", response_metadata={ASKED: 0})
        desk = request.desk
        said = self._read(desk.message)
        shape = SEARCH if desk.image is not None else _shape(said, len(desk.bus) > 0)
        if not shape.tools:
            return AIMessage(TALK, response_metadata={ASKED: 0})
        filters = len(said.telling) <= MOST_FILTER_WORDS
        ground = Ground(
            message=desk.message,
            mentions=said,
            labels=_labels_meant,
            examples=({tool: dict.fromkeys(self._labels) for tool in shape.tools},) if filters else (),
            taste=shape.taste,
            like=shape.like,
            told=FEEDBACK in shape.tools,
            shown={} if shape.like else numbers_shown(desk.bus.cards),
            focus=focus_of(request.past),
        )
        calls: list[ToolCall] = []
        for position, name in enumerate(tool for tool in shape.tools if tool in request.tools):
            arguments = _filled(narrow(request.tools[name].as_openai(), ground))
            calls.append(ToolCall(name=name, args=arguments, id=f"rule-{position}"))
            ground = ground.after(arguments)
        return AIMessage("", tool_calls=calls, response_metadata={ASKED: 0})


def _shape(said: Mentions, listed: bool) -> Shape:
    """The form of the plan; ``listed``: whether a list is on the table."""
    text = said.bare.casefold()
    named = bool(said.titles or said.unknown)
    subject = named or bool(said.places) or (listed and said.points)
    if _TALK.fullmatch(text):
        return Shape(())
    if _WHY.search(text) and (subject or listed):
        return Shape(("explain",))
    if _BIAS.search(text) and not _RECOMMEND.search(text):
        return Shape(("estimate_bias",))
    if _HISTORY.search(text):
        return Shape(("get_history",))
    told, asked = wording.statement(text), wording.wish(text)
    in_parts = told != text and asked != text
    about_item = (named and wording.STANDS_FOR_TITLE in told.split()) or bool(said.places) or (listed and said.points)
    opinion = said.opinion or said.grade
    asks = wording.asks(text)
    if opinion and about_item and (in_parts or not (asks or _is_likeness(said))):
        wanted = _wish(said, asked) if in_parts else RECOMMEND
        return Shape((FEEDBACK, *wanted.tools), like=wanted.like)
    if not named and _TASTE.search(told) and not asks and said.opinion in ("like", "dislike"):
        wanted = _wish(said, asked) if in_parts else RECOMMEND
        return Shape((FEEDBACK, *wanted.tools), taste=True)
    if subject and not _is_likeness(said) and _ASKED_FACT.search(text):
        return Shape(("describe_item",))
    return _wish(said, text)


def _is_likeness(said: Mentions) -> bool:
    return bool(said.titles or said.unknown or said.places) and bool(
        _LIKENESS.search(_no_opinion(said.bare.casefold()))
    )


def _no_opinion(text: str) -> str:
    """The text without "I like", which is an opinion and no likeness."""
    return re.sub(r"\b(?:i|we|really|don['’]?t|didn['’]?t|not|also) like\b", " ", text)


def _wish(said: Mentions, text: str) -> Shape:
    """What answers a wish: by likeness, by what it is about, or just the best."""
    if _is_likeness(said):
        return Shape(("search_items",), like=True)
    named = bool(said.names or said.refused_names)
    if said.bounds_only or (_RECOMMEND.search(text) and not named and not _PARTICULAR.search(text)):
        return RECOMMEND
    return SEARCH


def _labels_meant(labels: Sequence[str], mentions: Mentions, *, loosely: bool) -> tuple[set[str], set[str]]:
    """Labels that stand in the message; rules know no meanings, so ``loosely`` changes nothing."""
    return wanted_and_refused(labels_said(labels, mentions.bare), mentions)


def _filled(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The first way to give a narrowed tool's required arguments."""
    parameters = tool["function"]["parameters"]
    found: dict[str, Any] = {}
    for name in parameters["properties"]:
        schema = parameters["properties"][name]
        if name in parameters["required"]:
            text = " ".join(schema.get(WORDS, ()))[: schema.get("maxLength")]
            found[name] = schema["enum"][0] if "enum" in schema else text
    return found
