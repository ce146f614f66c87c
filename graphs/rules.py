"""A planner with no language model: patterns over plain English. Used when there is none, and the reply says so."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.messages import AIMessage

from ..catalog.text import fold
from ..tools.facets import Facets
from .planner import PlanRequest

_ORDINAL_WORDS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "1st": 1, "2nd": 2, "3rd": 3}
_WHY = re.compile(r"\bwhy\b|\bhow come\b|\bexplain\b|\breasons?\b")
_BIAS = re.compile(r"\bpopular\b|\bbias(ed)?\b|\bmainstream\b|\bblockbusters? only\b|\beverybody else\b")
_HISTORY = re.compile(r"\b(my|mine)\b.*\b(history|ratings?|profile)\b|\bhave i (seen|rated|liked|bought|watched)\b")
_ABOUT = re.compile(
    r"^(who|when|where|what year|how (long|old|much)|is (it|this|that|the)|does (it|this)"
    r"|tell me (more )?about|what is|what s|whats)\b"
)
_DISLIKE = re.compile(
    r"\b(hated?|dislike[ds]?|didn t like|did not like|don t like|do not like|can t stand|loathed?|gave up on"
    r"|boring|awful|terrible|off|no more|not a fan of|sick of|tired of)\b"
)
_LIKE = re.compile(r"\b(loved?|liked|like|enjoyed?|adored?|fan of|favou?rite)\b")
_SEEN = re.compile(r"\b(already )?(seen|watched|read|have|own|tried|been to)\b( it| that| this)?( already)?")
_LIKE_TITLE = re.compile(
    r"\b(?:something |anything |films? |movies? |one )?(?:like|similar to|in the vein of)\s+(.+)$", re.IGNORECASE
)
_RECOMMEND = re.compile(r"\b(recommend|suggest|surprise me|what should i|anything good|pick (me )?(one|something))\b")
_DECADE = re.compile(r"\b(?:19|20)?(\d)0s\b")
_AFTER = re.compile(r"\b(?:after|since|from)\s+((?:19|20)\d\d)\b")
_BEFORE = re.compile(r"\b(?:before|until|up to|older than)\s+((?:19|20)\d\d)\b")
_FULL_DECADE = re.compile(r"\b((?:19|20)\d)0s\b")
_FILLER = re.compile(
    r"\b(i|i m|im|me|want|would|like|to|watch|see|a|an|the|some|something|anything|please|can|you|find|show|give|looking"
    r"|for|film|films|movie|movies|tonight|with|about|of|and|in|mood|feel)\b"
)


class RulePlanner:
    """Knows the tools and the catalogue's own words, and nothing else."""

    name = "rules"

    def __init__(self, facets: Facets) -> None:
        self._facets = facets

    def plan(self, request: PlanRequest) -> AIMessage:
        calls = [] if request.failures else self._calls(request)
        return AIMessage(
            content="",
            tool_calls=[
                {"name": name, "args": args, "id": f"rule-{position}"}
                for position, (name, args) in enumerate(calls)
                if name in request.tools
            ],
        )

    def _calls(self, request: PlanRequest) -> list[tuple[str, dict[str, Any]]]:
        raw = request.desk.message
        text = fold(raw)
        ordinal = _ordinal(text, len(request.desk.bus))
        pointed: dict[str, Any] = {"ordinal": ordinal} if ordinal else {}
        if _WHY.search(text) and len(request.desk.bus):
            return [("explain", pointed or {"ordinal": 1})]
        if _BIAS.search(text) and not _RECOMMEND.search(text):
            return [("estimate_bias", {})]
        if _HISTORY.search(text):
            return [("get_history", {})]
        title = _quoted(raw)
        if _ABOUT.search(text) and (len(request.desk.bus) or title):
            return [("describe_item", {**({"title": title} if title else pointed), "question": raw[:120]})]
        calls: list[tuple[str, dict[str, Any]]] = []
        feedback = self._feedback(raw, text, pointed, title)
        if feedback:
            calls.append(("record_feedback", feedback))
            if "," not in raw and "?" not in raw and " but " not in f" {text} ":
                return [*calls, ("recommend", {})]
        filters = self._filters(text)
        like = _LIKE_TITLE.search(raw.rstrip(" .?!"))
        if like and not feedback:
            return [*calls, ("search_items", {"like": like.group(1).split(",")[0].strip()[:80], **filters})]
        words = " ".join(_FILLER.sub(" ", text).split())
        if request.desk.image is not None:
            return [*calls, ("search_items", {**({"query": raw[:120]} if words else {}), **filters})]
        if _RECOMMEND.search(text) or not words:
            return [*calls, ("recommend", filters)]
        return [*calls, ("search_items", {"query": raw[:120], **filters})]

    def _feedback(self, raw: str, text: str, pointed: dict[str, Any], title: str | None) -> dict[str, Any] | None:
        if _LIKE_TITLE.search(raw) and not _DISLIKE.search(text) and not pointed:
            return None
        verdict = "dislike" if _DISLIKE.search(text) else "like" if _LIKE.search(text) else None
        if verdict is None and _SEEN.search(text) and (pointed or title):
            verdict = "seen"
        if verdict is None:
            return None
        if title:
            return {"verdict": verdict, "title": title}
        if pointed:
            return {"verdict": verdict, **pointed}
        label = self._label(text)
        if label and verdict != "seen":
            scope = "tonight" if re.search(r"\b(tonight|this evening|today)\b", text) else "always"
            return {"verdict": verdict, "about": label, "scope": scope}
        return None

    def _label(self, text: str) -> str | None:
        for spec in self._facets.choices:
            for value in sorted(spec.values, key=len, reverse=True):
                if f" {fold(value)} " in f" {text} ":
                    return value
        return None

    def _filters(self, text: str) -> dict[str, Any]:
        filters: dict[str, Any] = {}
        for spec in self._facets.choices:
            for value in sorted(spec.values, key=len, reverse=True):
                folded = fold(value)
                if f" no {folded} " in f" {text} " or f" not {folded} " in f" {text} ":
                    filters.setdefault(f"not_{spec.name}", value)
                elif f" {folded} " in f" {text} ":
                    filters.setdefault(spec.name, value)
        if any(spec.name == "year" for spec in self._facets.numbers):
            if match := _FULL_DECADE.search(text):
                filters |= {"year_min": int(match.group(1)) * 10, "year_max": int(match.group(1)) * 10 + 9}
            elif match := _DECADE.search(text):
                start = (2000 if match.group(1) in "012" else 1900) + int(match.group(1)) * 10
                filters |= {"year_min": start, "year_max": start + 9}
            if match := _AFTER.search(text):
                filters["year_min"] = int(match.group(1))
            if match := _BEFORE.search(text):
                filters["year_max"] = int(match.group(1))
        return filters


def _ordinal(text: str, shown: int) -> int | None:
    for word, number in _ORDINAL_WORDS.items():
        if f" {word} " in f" {text} " and number <= shown:
            return number
    match = re.search(r"\b(?:number |no )?([1-9])\b", text)
    if match and int(match.group(1)) <= shown:
        return int(match.group(1))
    return 1 if shown and re.search(r"\b(it|this|that)( one)?\b", text) else None


def _quoted(raw: str) -> str | None:
    match = re.search(r"[\"“‘']([^\"”’']{2,80})[\"”’']", raw)
    return match.group(1) if match else None
