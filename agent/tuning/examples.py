"""From phrasings to examples: the prompt as the graph makes it, and the answer it should get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

from ...catalog.items import Catalogue
from ...graphs.encoding import encode_plan
from ...graphs.prompting import new_message, past_messages
from .noise import mistyped, unsigned
from .phrasings import Call, Phrasing, calls_of
from .shells import DOMAINS, TRADES, Domain
from .slots import fill, slots_of
from .variants import Variant, own_variant, variants_of

#: How often a message is written without capitals, without its last stop, and with typing errors.
LOWER, UNSIGNED, MISTYPED = 0.3, 0.35, 0.2
#: How often a list is on the table though the message does not need it, and a turn before that has no bearing on it.
LISTED, TALKED = 0.25, 0.15
#: How often a wish that says all it means comes after another search, of which nothing is carried over.
EARLIER = 0.4
#: How often the catalogue that an adapter is made for is spoken of, where there is one.
OWN = 0.5
#: How often a phrasing is filled anew where a catalogue cannot be asked for what came: a year before its first.
MOST_TRIES = 4
#: Tools (several in a row, or none: a reply) that n phrasings lead to are drawn n**(1 - BALANCE) times as often as if
#: one did: half of what people say is a search, and what is seldom said would be seldom learned.
BALANCE = 0.3
#: Tools that fewer phrasings lead to count as so many, lest a handful is learned by heart.
FEW = 20
_FREE_TEXT = ("query", "like", "without", "title", "about", "named", "not_named")


class Unfit(ValueError):
    """A plan does not fit the tools it is for."""


@dataclass(frozen=True)
class Example:
    """One prompt with its answer.

    Attributes:
        kind, domain: of the phrasing.
        system: the constant text the prompt begins with. turns: what follows, as (role, text), the message last.
        answer: a plan as text, or a reply.
        say: the phrasing it comes from.
    """

    kind: str
    domain: str
    system: str
    turns: tuple[tuple[str, str], ...]
    answer: str
    say: str = ""

    @classmethod
    def of(
        cls, kind: str, messages: Sequence[AnyMessage], answer: str, *, domain: str = "any", say: str = ""
    ) -> Example:
        """From a prompt as the graph makes it: the system message first."""
        first, *rest = messages
        turns = tuple((str(message.type), str(message.content)) for message in rest)
        return cls(kind, domain, str(first.content), turns, answer, say)


def examples(
    phrasings: Sequence[Phrasing], count: int, *, seed: int = 0, own: Catalogue | None = None
) -> list[Example]:
    """So many examples: a phrasing the oftener the more it has to vary, and the fewer others lead to the same tools.

    Args:
        own: a catalogue that half of them speak of, as far as phrasings fit what can be asked of it.

    Raises:
        Unfit: a phrasing's plan does not fit the tools of its domain.
    """
    rng = Random(seed)
    alike = Counter(_tools_of(one) for one in phrasings)
    weights = [(1.0 + min(len(slots_of(one)), 3)) * max(alike[_tools_of(one)], FEW) ** -BALANCE for one in phrasings]
    share = count / sum(weights)
    variants = {} if own is None else {domain: own_variant(domain, own) for domain in DOMAINS}
    searches = [one for one in phrasings if _tools_of(one) == ("search_items",) and _says_all(one)]
    found: list[Example] = []
    for phrasing, weight in zip(phrasings, weights, strict=True):
        times = int(share * weight) + (rng.random() < share * weight % 1)
        found.extend(_example(phrasing, variants, searches, rng) for _ in range(times))
    rng.shuffle(found)
    return found


def _tools_of(phrasing: Phrasing) -> tuple[str, ...]:
    return tuple(name for name, _ in phrasing.plan)


def _says_all(phrasing: Phrasing) -> bool:
    """Whether a message speaks for itself: it names what it wants, and stands alone or changes nothing said before."""
    if phrasing.past or phrasing.shown or phrasing.image or not phrasing.plan:
        return False
    lists = [args for name, args in phrasing.plan if name in ("search_items", "recommend")]
    return all(
        {"query", "named", "like"} & args.keys() and not {"more", "less"} & args.keys() and "{l" not in str(args)
        for args in lists
    )


def _example(phrasing: Phrasing, own: Mapping[Domain, Variant], searches: Sequence[Phrasing], rng: Random) -> Example:
    domain: Domain = rng.choice(DOMAINS) if phrasing.domain == "any" else phrasing.domain
    variant = own.get(domain) if rng.random() < OWN else None
    if variant is not None and variant.has(calls_of(phrasing)):
        for _ in range(MOST_TRIES):
            with suppress(Unfit):  # its numbers reach less far than a domain's, and its titles may be long
                return _spoken(phrasing, domain, variant, searches, rng)
    variant = rng.choice([one for one in variants_of(domain) if one.has(calls_of(phrasing))])
    return _spoken(phrasing, domain, variant, searches, rng)


def _spoken(phrasing: Phrasing, domain: Domain, variant: Variant, searches: Sequence[Phrasing], rng: Random) -> Example:
    filled = fill(phrasing, domain, rng, words=variant.words, lower=rng.random() < LOWER)
    plan = _planned(filled.plan, variant, phrasing)
    past: list[AnyMessage] = []
    if _says_all(phrasing) and rng.random() < EARLIER:
        past += _earlier(domain, variant, searches, rng)
    elif not filled.past and rng.random() < TALKED:
        past += _small_talk(rng)
    searched = any(isinstance(one, AIMessage) and one.tool_calls for one in past)
    titles = filled.titles
    if not titles and (searched or any(plan for _, plan, _ in filled.past) or rng.random() < LISTED):
        titles = tuple(rng.sample(list(variant.words["titles"]), 5))
    for say, calls, reply in filled.past:
        past += [HumanMessage(_typed(say, calls, rng)), _answer(_planned(calls, variant, phrasing), reply)]
    messages = [
        SystemMessage(variant.system),
        *past_messages(past),
        new_message(_typed(filled.say, filled.plan, rng), titles=titles, picture=phrasing.image),
    ]
    answer = encode_plan([{"name": name, "args": args} for name, args in plan]) if plan else filled.reply
    return Example.of(phrasing.kind, messages, answer, domain=domain, say=phrasing.say)


def _answer(plan: Sequence[Call], reply: str) -> AIMessage:
    calls = [{"name": name, "args": args, "id": str(at), "type": "tool_call"} for at, (name, args) in enumerate(plan)]
    return AIMessage("" if calls else reply, tool_calls=calls)


def _planned(calls: Sequence[Call], variant: Variant, phrasing: Phrasing) -> list[Call]:
    """The calls as this shell takes them: its names for labels, fields in the order of the schema.

    A label that the shell does not have is asked for in words.
    """
    choice = TRADES[variant.domain].choice
    found: list[Call] = []
    for name, args in calls:
        given = dict(args)
        for field, words in ((choice, "query"), (f"not_{choice}", "without")):
            if field not in given:
                continue
            label = given.pop(field)
            if label in variant.names:
                given[field] = variant.names[label]
            elif name == "search_items" or words == "without":
                given[words] = f"{str(label).lower()} {given.get(words, '')}".strip()
            else:  # a recommendation of a kind that no label knows is a search for it
                name, given["query"] = "search_items", str(label).lower()
        tool = variant.tools[name]
        try:
            tool.arguments.model_validate(given)
        except ValidationError as error:
            raise Unfit(f"{phrasing.say!r}: {name} {given}: {error.errors()[0]['msg']}") from None
        ordered = {field: given[field] for field in tool.arguments.model_fields if field in given}
        found.append((name, ordered))
    return found


def _typed(text: str, calls: Sequence[Call], rng: Random) -> str:
    """A message as somebody typed it. What the plan copies from it is typed rightly."""
    copied = [str(args[field]) for _, args in calls for field in _FREE_TEXT if field in args]
    if rng.random() < UNSIGNED:
        text = unsigned(text, rng)
    if rng.random() < MISTYPED:
        text = mistyped(text, rng, keep=copied, share=0.15)
    return text


def _earlier(domain: Domain, variant: Variant, searches: Sequence[Phrasing], rng: Random) -> Iterator[AnyMessage]:
    """Another search, made before; none where the variant fits none of a few."""
    for phrasing in rng.sample(searches, min(8 * MOST_TRIES, len(searches))):
        if phrasing.domain in (domain, "any") and variant.has(calls_of(phrasing)):
            filled = fill(phrasing, domain, rng, words=variant.words)
            with suppress(Unfit):
                plan = _planned(filled.plan, variant, phrasing)
                yield HumanMessage(_typed(filled.say, filled.plan, rng))
                yield _answer(plan, "")
                return


def _small_talk(rng: Random) -> Iterator[AnyMessage]:
    say, reply = rng.choice(
        (
            ("hi", "Hello! Tell me a mood, a subject or something you liked."),
            ("hello there", "Hi! What are you in the mood for?"),
            ("what can you do?", "I find things you may like, explain why, and remember what you tell me."),
            ("thanks", "You are welcome. Shall we look for something else?"),
        )
    )
    yield HumanMessage(say)
    yield AIMessage(reply)
