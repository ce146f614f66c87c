"""Words that say nothing of an item or of the user: what a written reply may use beside its evidence.

What is missing here is missing on purpose: negations, superlatives, praise of the world's ("famous", "award"), verbs of
what the user did or likes, words that carry a fact over to another item ("too", "likewise"), and what kind of thing an
item is. A word that could make a sentence false does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WORDS = """
a an the and or but so as at by for from in into of on onto to with then than while because since if when where which
that who whose there here it its this these those they them their both each either all one ones i i'd i'll i've me my
you you'd you'll your yourself
's is are be being been was were has have having had may might could can would will should shall let
look looks looking see start starts started starting begin begins beginning try trying open opens opening lead leads led
leading come comes came coming go goes going take takes taking put puts sit sits stand stands stay stays turn turns move
keep keeps give gives make makes bring brings offer offers get gets want hope think suggest suggests call consider pick
picks picked choose find finds found hold holds follow follows following join joins point points pointing reach reaches
add adds adding complete completes complement tell tells told note noting belong belongs run runs rest rests
meet line lined round rounds cover covers carry carries
choice option options suggestion suggestions entry entries list lists listed label labels place spot side sides end part
parts half whole link thread hand reason reasons way ways step steps idea ideas answer answers case word wish wishes
tip turn mind opener starter evening
more also again now next later after before still even rather quite just simply already once maybe perhaps
meanwhile besides gladly another other up down out over under through along alongside among behind right away back ahead
between further apart together
worth easy handy fair clear neat nice plain simple straightforward natural happy glad enjoy ready quick short
hello hi sure well okay yes please thanks welcome
what how why today tonight plus followed
"""

_PHRASES = """
good place to start
good first step
good next step
good one to start
good pick
good choice
good way to start
good way in
good reason
good case
good fit
good start
good bet
strong case
strong reason
strong start
safe bet
you may like
you might like
you could like
you may enjoy
you might enjoy
could suit you
might suit you
may suit you
could suit
might suit
may suit
have a look
take a look
a closer look
give it a go
give it a try
have fun
of course
suits you
how about
what about
new to you
"""

#: Single words that are always allowed.
PLAIN: frozenset[str] = frozenset(_WORDS.split())


def _by_first(lines: Sequence[str]) -> Mapping[str, tuple[tuple[str, ...], ...]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        words = tuple(line.split())
        found.setdefault(words[0], []).append(words)
    return {first: tuple(sorted(phrases, key=len, reverse=True)) for first, phrases in found.items()}


#: Phrases that are allowed as a whole, longest first, by their first word.
PHRASES: Mapping[str, tuple[tuple[str, ...], ...]] = _by_first([line for line in _PHRASES.splitlines() if line])

#: What the words of the request may follow.
REQUEST_MARKERS: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in (
        "you asked for",
        "you asked about",
        "you were looking for",
        "you are looking for",
        "you're looking for",
        "you were after",
        "you are after",
        "you're after",
        "you wanted",
        "you want",
        "your wish for",
        "your request for",
        "your search for",
        "in the mood for",
        "your words",
    )
)
#: Words that may stand between such a marker and the request's own words.
ARTICLES = frozenset(["a", "an", "the", "some", "something", "any", "anything"])
