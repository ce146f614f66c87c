"""How a message is worded, whatever the catalogue: numbers, ordinals, grades, refusals, opinions, wishes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from ..catalog.text import fold

Opinion = Literal["like", "dislike", "seen", "skip"]
End = Literal["low", "high"]

#: What a title is replaced by where a message is read for its form.
STANDS_FOR_TITLE = "it"
#: Place that stands for the last of a list.
LAST = -1
#: Words after a refusal that it reaches at most.
REFUSAL_REACH = 4

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_DECADES = {
    "twenties": 1920,
    "thirties": 1930,
    "forties": 1940,
    "fifties": 1950,
    "sixties": 1960,
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
}
_DECADE = re.compile(r"\b(?:(19|20))?(\d)0 ?s\b")
_NUMBER = re.compile(r"\b\d{1,4}\b")
_UNIT = r"(?: (?:min|mins|minutes?|hours?|dollars?|euros?|pounds?|bucks|quid|usd|eur|gbp))?"
_HOURS = re.compile(r"\b(\d|an?|one|two|three|four|five)( and a half)? hours?( and a half)?\b")
_HOUR_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_LOWER = re.compile(
    r"\b(?:after|since|newer than|later than|over|above|(?<!no )more than|at least|longer than)(?: the)?$"
)
_UPPER = re.compile(
    r"\b(?:before|until|up to|older than|earlier than|under|below|within|less than|at most|shorter than|cheaper than"
    r"|max|maximum|no more than)(?: the)?$"
)
_REFUSED_BOUND = re.compile(r"\b(?:no|not|nothing|none)(?: \w+)?$")
#: Words that leave the year itself out; after a refusal ("nothing before 1990") they keep it.
_BEYOND = re.compile(r"\b(?:before|older than|earlier than|after|newer than|later than)(?: the)?$")
_OR_MORE = re.compile(
    rf"^{_UNIT} ?(?:(?:or|and) (?:more|later|newer|over|above|up|longer|after)|plus|on|onwards?|minimum)\b"
)
_OR_LESS = re.compile(
    rf"^{_UNIT} ?(?:(?:or|and) (?:less|under|below|earlier|older|shorter|cheaper|before)|max|maximum|tops|at most)\b"
)
_BOUND_PHRASE = re.compile(
    rf"(?:\b(?:no|not|nothing|none)\s+)?"
    rf"(?:{_LOWER.pattern.removesuffix('$')}|{_UPPER.pattern.removesuffix('$')})\s+\d{{1,4}}\b{_UNIT}\b"
    rf"|\b\d{{1,4}}{_UNIT}\s+(?:or|and)\s+(?:more|later|newer|over|above|up|longer|after|less|under|below|earlier|older"
    rf"|shorter|cheaper|before)\b",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"^ (?:dollars?|euros?|pounds?|bucks|quid|usd|eur|gbp)\b")
_RANGE = re.compile(rf"\b(?:between|from) (\d{{1,4}}){_UNIT} (?:and|to) (\d{{1,4}})\b")

#: Comparisons with what is shown: the attribute, and the end of its range that they set.
_LEANINGS: tuple[tuple[re.Pattern[str], tuple[str, End]], ...] = (
    (re.compile(r"\b(?:newer|more (?:recent|modern)|later)\b(?! than)"), ("year", "low")),
    (re.compile(r"\b(?:older|earlier|less recent)\b(?! than)"), ("year", "high")),
    (re.compile(r"\bshorter\b(?! than)|\b(?:less|not so) long\b"), ("runtime", "high")),
    (re.compile(r"\blonger\b(?! than)"), ("runtime", "low")),
    (re.compile(r"\bcheaper\b(?! than)|\b(?:less|not so) (?:expensive|pricey)\b"), ("price", "high")),
)
_BOUNDING_WORDS = """
    after before since until under over above below between than at least most max maximum minimum tops newer
    older earlier later shorter longer cheaper recent modern long expensive pricey mins minutes hour hours
    dollars euros pounds bucks year years decade twenties thirties forties fifties sixties seventies eighties
    nineties
"""
_BOUNDING = frozenset(_BOUNDING_WORDS.split())

_PLACES = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "1st": 1,
    "2nd": 2,
    "3rd": 3,
    "4th": 4,
    "5th": 5,
}
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_PLACE = re.compile(
    r"\b(?P<place>first|second|third|fourth|fifth|1st|2nd|3rd|4th|5th)\b"
    r"|\b(?:number|no\.|nr\.?|#)\s*(?P<count>\d{1,2}|one|two|three|four|five)\b"
    r"|#(?P<hash>\d{1,2})\b"
    r"|(?P<last>\b(?:the )?(?:last|bottom) (?:one|pick|item)\b|\bthe last(?=\s*(?:[?.!,]|$)))"
    r"|(?P<top>\bthe top one\b)"
    r"|(?<!top )(?<!under )(?<!over )(?<!rate )(?<!with )\b(?P<bare>[1-9])"
    r"(?=\s*(?:[?.!,]|$|(?:and|or|is|was|looks?|sounds?|please)\b))"
)
_PLACE_PHRASE = re.compile(
    rf"(?:\bthe )?(?:{re.sub('P<[a-z]+>', ':', _PLACE.pattern)})(?: (?:one|pick)\b)?", re.IGNORECASE
)
_POINTING = re.compile(r"\b(?:it|its|this|that|one|he|she)\b|\bit['’]s\b")

_GRADE_OF = re.compile(r"\b(\d{1,3})\s*(?:/|out of)\s*(\d{1,3})\b")
_GRADE = re.compile(
    r"\b(?P<stars>\d{1,2})\s*stars?\b"
    r"|\b(?:gets?|gives?|gave|rated?|rating of|score of)\s+(?:it\s+|(?:[\w'’]+\s+){0,4}?(?=an?\s))?"
    r"(?:an?\s+)?(?P<grade>\d{1,2})(?=\s*(?:[.,;!?]|$|from\b|for\b))"
)

_NOT = (
    r"no|not|without|except|never|nothing|none|neither|cannot|\w+n['’]t|dont|doesnt|didnt|wont|isnt|cant|couldnt|wasnt"
)
_REFUSAL = re.compile(
    rf"\b(?:{_NOT}|nah|nope|avoid|skip|less|minus|hate[ds]?|loathe[ds]?|dislike[ds]?|instead of"
    r"|(?:sick|tired) of|enough(?: with| of)?|stop)\b"
)
_GOOD = re.compile(
    r"(?<=\bi )like\b|(?<=\bwe )like\b|(?<=really )like\b|(?<=also )like\b|(?<=do )like\b|(?<=n't )like\b"
    r"|(?<=n’t )like\b|(?<=not )like\b|(?<=dont )like\b|(?<=didnt )like\b"
    r"|\b(?:love[ds]?|loving|adore[ds]?|enjoy(?:ed|s)?|like[ds]|great|amazing|brilliant|fantastic|wonderful|excellent"
    r"|awesome|superb|masterpiece|favou?rites?|fans? of|into|dig|care[ds]? for|good|fun|blew me away|sucker for"
    r"|weakness for|crazy about|perfect|best|nice|impressed|interested|for me|my thing|my cup of tea|prefer|want"
    r"|mood for)\b"
)
_BAD = re.compile(
    r"\b(?:hate[ds]?|loathe[ds]?|dislike[ds]?|boring|bored?|bores|awful|terrible|horrible|dreadful|overrated|waste of"
    r"|gave up|stopped watching|fell asleep|walked out|(?:couldn['’]?t|did(?:n['’]?t| not)) finish"
    r"|can(?:['’]?t|not) (?:stand|bear)|sick of|tired of|enough|allergic|disappoint\w*|rubbish|crap|worst|bad|sucks?"
    r"|sucked|avoid|stop|broke|too \w+)\b"
)
_SEEN = re.compile(r"\b(?:seen|watched|saw|already|know|own|read|tried|been|have it)\b")
_LATER = re.compile(r"\b(?:skip|another time|some other time|not now|later|pass on)\b")
_WISH = re.compile(
    r"\b(?:something|somewhere|anything|any|give|show|find|want|need|looking for|more|another|what|got|else|recommend"
    r"|suggest|rather|now|similar|others?)\b"
)
_CLAUSE = re.compile(r"[,.;!?:]+(?=\s|$)|\s-+\s|\bbut\b")

_QUESTION = re.compile(
    r"(?:and |but |so |ok |wait )?(?:who|whos|what|whats|when|where|which|how|why|is|are|was|were|does|do|did|can|could"
    r"|has|have)\b"
)
_PASSING = re.compile(r"\b(?:tonight|today|this evening|right now|for now|this time)\b")


def words_said(message: str, most: int = 24) -> tuple[str, ...]:
    """The message's words as they were written, each once, in order."""
    return tuple(dict.fromkeys(_WORD.findall(message)))[:most]


def clauses(message: str) -> list[str]:
    """The message cut at punctuation and at "but"."""
    return [part.strip() for part in _CLAUSE.split(message) if part.strip()]


def wish(message: str) -> str:
    """The clauses that ask for something; where none or all do, the whole message."""
    parts = clauses(message)
    asking = [part for part in parts if _WISH.search(part.casefold())]
    return ", ".join(asking) if asking and len(asking) < len(parts) else message


def statement(message: str) -> str:
    """The clauses that ask for nothing; where none or all do, the whole message."""
    parts = clauses(message)
    told = [part for part in parts if not _WISH.search(part.casefold())]
    return ", ".join(told) if told and len(told) < len(parts) else message


def beside(message: str) -> str:
    """The clauses that point at nothing."""
    return ", ".join(part for part in clauses(message) if not points(part))


def numbers_said(message: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers a message names as bounds: lower ends and upper ends.

    A decade gives its first and last year, a bare year both ends. "after", "at least", "or more" and the like make a
    number a lower end only, "before", "under", "or less" and the like (or a currency) an upper end only. "Before" a year
    or decade leaves it out, and so does "after". Hours count in minutes. Any other number bounds nothing ("number 3",
    "for 4 people").
    """
    text = _HOURS.sub(_in_minutes, fold(message))
    lows: dict[int, None] = {}
    highs: dict[int, None] = {}
    for match in _RANGE.finditer(text):
        lows[int(match.group(1))] = highs[int(match.group(2))] = None
    spans = [
        (match.start(), match.end(), start, start + 9)
        for word, start in _DECADES.items()
        for match in re.finditer(rf"\b{word}\b", text)
    ]
    for match in _DECADE.finditer(text):
        century = match.group(1) or ("20" if match.group(2) in "01" else "19")
        start = int(century + match.group(2) + "0")
        spans.append((match.start(), match.end(), start, start + 9))
    rest = _RANGE.sub(_blank, _DECADE.sub(_blank, text))
    spans += [(m.start(), m.end(), int(m.group()), int(m.group())) for m in _NUMBER.finditer(rest)]
    for at, end, low, high in sorted(spans):
        before = text[:at].rstrip()
        marker = _BEYOND.search(before) if low >= 1800 else None
        beyond = marker is not None and not _REFUSED_BOUND.search(before[: marker.start()].rstrip())
        match _bound(before, text[end:]):
            case "low":
                lows[high + 1 if beyond else low] = None
            case "high":
                highs[low - 1 if beyond else high] = None
            case None if low >= 1800:
                lows[low] = highs[high] = None
    return tuple(lows), tuple(highs)


def without_bounds(message: str) -> str:
    """The message without the numbers it names as bounds and the words that make them bounds."""
    return _BOUND_PHRASE.sub(" ", message)


def _bound(before: str, after: str) -> End | None:
    """Which end of a range a number is, by the words around it."""
    ends: tuple[tuple[re.Pattern[str], End, End], ...] = ((_LOWER, "low", "high"), (_UPPER, "high", "low"))
    for marker, end, other in ends:
        if found := marker.search(before):
            return other if _REFUSED_BOUND.search(before[: found.start()].rstrip()) else end
    if _OR_MORE.search(after):
        return "low"
    if _OR_LESS.search(after) or _CURRENCY.search(after):
        return "high"
    return None


def leanings(message: str) -> tuple[tuple[str, End], ...]:
    """Attributes that the message wants more or less of than what is shown ("newer ones": year, from below)."""
    text = fold(message)
    return tuple(leaning for pattern, leaning in _LEANINGS if pattern.search(text))


def bounds_only(words: Iterable[str]) -> bool:
    """Whether words speak of numbers and their bounds alone ("newer", "after 2000")."""
    return all(word in _BOUNDING or word[:1].isdigit() for word in map(str.casefold, words))


def _in_minutes(match: re.Match[str]) -> str:
    count = match.group(1)
    hours = _HOUR_WORDS.get(count) or int(count)
    return str(60 * hours + (30 if match.group(2) or match.group(3) else 0)) + " min"


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def places_said(message: str) -> tuple[int, ...]:
    """Places of a list that the message points at by number (1 = first, `LAST`)."""
    text = _GRADE.sub(" ", _GRADE_OF.sub(" ", message.casefold()))
    found: dict[int, None] = {}
    for match in _PLACE.finditer(text):
        if match["last"]:
            found[LAST] = None
        elif match["top"]:
            found[1] = None
        elif match["place"]:
            found[_PLACES[match["place"]]] = None
        else:
            digits = match["count"] or match["hash"] or match["bare"]
            found[_COUNTS.get(digits) or int(digits)] = None
    return tuple(place for place in found if place)


def without_places(message: str) -> str:
    """The message with each place of a list replaced by "it"."""
    return _PLACE_PHRASE.sub("it", message)


def points(message: str) -> bool:
    """Whether the message points at something shown: by its place, or as "it", "that one"."""
    return bool(_POINTING.search(message.casefold()) or places_said(message))


def grade_said(message: str) -> tuple[int, int | None] | None:
    """A grade, and what it is out of where that is said ("4/5": 4 and 5)."""
    text = message.casefold()
    if match := _GRADE_OF.search(text):
        grade, of = int(match.group(1)), int(match.group(2))
        return (grade, of) if of > 0 and grade <= of else None
    if match := _GRADE.search(text):
        return int(match["stars"] or match["grade"]), None
    return None


def passing(message: str) -> bool:
    """Whether it speaks of tonight only."""
    return bool(_PASSING.search(message.casefold()))


def refused_words(message: str) -> frozenset[str]:
    """Words that stand shortly after a refusal, in its clause: "a comedy, but no *romance*"."""
    found: set[str] = set()
    for clause in clauses(message.casefold()):
        for match in _REFUSAL.finditer(clause):
            for word in _WORD.findall(clause[match.end() :])[:REFUSAL_REACH]:
                found.update(fold(word).split())
    return frozenset(found)


def refuses(message: str) -> bool:
    """Whether it says no to something."""
    return bool(_REFUSAL.search(message.casefold()))


def opinion_said(message: str) -> Opinion | None:
    """What the message thinks of what it speaks of, where its words leave no doubt.

    Wishes are left out ("hated it, something good please" is a dislike); the first word of praise or blame counts,
    turned round by a refusal shortly before it.
    """
    text = statement(message).casefold()
    for match in sorted((*_GOOD.finditer(text), *_BAD.finditer(text)), key=lambda m: m.start()):
        good = match.re is _GOOD
        turned = _turned(text[: match.start()])
        return "like" if good != turned else "dislike"
    if _LATER.search(text):
        return "skip"
    if _SEEN.search(text):
        return "seen"
    return "dislike" if _REFUSAL.search(text) else None


def _turned(before: str) -> bool:
    """Whether a refusal stands among the last few words of a clause."""
    tail = re.split(r"[,.;!?:]", before)[-1].split()[-3:]
    return bool(re.search(rf"\b(?:{_NOT}|nothing)\b", " ".join(tail)))


def asks(message: str) -> bool:
    """Whether it is put as a question."""
    return message.rstrip().endswith("?") or bool(_QUESTION.match(message.casefold()))
