"""Claims: short sentences about an item, each resting on records that exist.

Nothing here is generated: wording is fixed, names and numbers come from the records. A claim is only made of
what moved the item's score or answered the request. Lists are claimed by contribution, which costs nothing beside the
ranking; where one item is asked about, :mod:`.evidence` gathers more and :mod:`.verify` ranks again without each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from ..catalog.items import Item
from ..catalog.text import fold, one_line
from ..ranking.base import Contribution, Ranked
from ..ranking.graph_ranker import GraphRanker
from ..ranking.history import from_events
from .base import TurnContext
from .nouns import named, people, singular
from .results import Claim, Evidence
from .seldom import SELDOM, counts_people, people_in_common, seldom_record
from .taste import history_of

#: Contributions below this share of the largest are not worth a sentence.
WORTH_TELLING = 0.25
MOST_CLAIMS = 3
#: Values of one attribute that are told.
MOST_VALUES = 4
#: Parts that go by what was chosen, whatever was thought of it.
BEHAVIOUR = ("transitions", "ease", "graph", "posterior")
#: What a part says of records that were liked or chosen, and of such as were not liked.
LIKED = {
    "transitions": "people who chose {names} chose this soon after",
    "ease": "people who chose {names} also chose this",
    "posterior": "people who chose {names} chose this later",
    "text": "close in content to {names}, on your record",
    "image": "its picture is close to that of {names}, on your record",
}
DISLIKED = {
    "transitions": f"people who chose {{names}}, which you did not like{SELDOM} soon after",
    "ease": f"people who chose {{names}}, which you did not like{SELDOM}",
    "posterior": f"people who chose {{names}}, which you did not like{SELDOM} later",
    "text": "far in content from {names}, which you did not like",
    "image": "its picture is far from that of {names}, which you did not like",
}
#: Parts of the score that nothing known of the user speaks through.
IMPERSONAL = ("popularity", "debias", "explore")
_ELSE = "goes with {names}, on your record"


def part_words(part: str, names: str, *, liked: bool, counted: bool = True) -> str:
    """What a part of the ranker says of some records, in words.

    Args:
        counted: whether people who chose both can be counted. The posterior expects an item of people who chose
            another even where nobody did so, for the taste that both show: where that cannot be told, no people are
            spoken of.
    """
    if part == "posterior" and liked and not counted:
        return _ELSE.format(names=names)
    return (LIKED if liked else DISLIKED).get(part, _ELSE).format(names=names)


def say_value(value: float | str | tuple[str, ...]) -> str:
    """An attribute's value in words; of many values the first, and how many more there are."""
    if isinstance(value, tuple):
        more = len(value) - MOST_VALUES
        return ", ".join(one_line(v, 60) for v in value[:MOST_VALUES]) + (f" and {more} more" if more > 0 else "")
    return f"{value:g}" if isinstance(value, float) else one_line(value, 80)


def item_claims(
    context: TurnContext,
    item: Item,
    *,
    ranked: Ranked | None = None,
    ranks: Mapping[str, int] | None = None,
    query: str | None = None,
    cited: Sequence[str] = (),
    labels: Collection[str] = (),
) -> tuple[Claim, ...]:
    """Up to three claims for one item: what it answers, that it is there by exploring, whom it is like, what was said,
    how popular it is.

    Always at least one: where nothing personal moved it, the claim says so.

    Args:
        cited: attributes that were filtered by. labels: those of their values that were asked for.
    """
    claims: list[Claim] = []
    if ranks:
        claims.extend(search_claim(context, item, ranks, query))
    claims.extend(asked_claim(context, item, cited, labels))
    if ranked is not None and item.id in context.explored:
        claims.append(explored_claim(context, item, ranked))
    if ranked is not None:
        claims.extend(_personal_claims(context, item, ranked))
        if not claims and ranked.parts.get("popularity", 0.0) + ranked.parts.get("debias", 0.0) > 0:
            claims.append(popularity_claim(context, item, ranked))
    if not claims:
        claims.append(plain_claim(context, item))
    return tuple(claims[:MOST_CLAIMS])


def search_claim(context: TurnContext, item: Item, ranks: Mapping[str, int], query: str | None) -> list[Claim]:
    """What of the request it answers: the words it holds, else the view that placed it best."""
    if query and ranks.keys() & {"words", "title"} and (said := _words_claim(context, item, query)):
        return [said]
    view, rank = min(((v, r) for v, r in ranks.items() if v != "words"), key=lambda p: p[1], default=("words", 0))
    if not rank:
        return []
    asked = f"“{one_line(query, 60)}”" if query else "the request"
    what = {
        "title": f"its title is close to {asked}",
        "text": f"its text is close in meaning to {asked}",
        "image": f"its picture is close to {asked if not context.image else 'your picture'}",
    }.get(view, f"the {view} view places it near {asked}")
    source = context.cite(f"view:{view}:{item.id}", f"rank {rank} in the {view} view for {asked}")
    return [Claim(text=what, evidence=(source,))]


def _words_claim(context: TurnContext, item: Item, query: str) -> Claim | None:
    """The words of the request that its own text holds, quoted; None where it holds none worth telling."""
    asked = [word for word in dict.fromkeys(fold(query).split()) if len(word) > 3]
    fields = {"title": item.title, "description": item.description}
    fields |= {
        name: " ".join(v) if isinstance(v, tuple) else v
        for name, v in item.attributes.items()
        if not isinstance(v, float)
    }
    for name, text in fields.items():
        words = set(fold(text).split())
        passage = _passage(text, words.intersection(asked))
        held = [word for word in asked if word in fold(passage).split()]
        if held:
            source = context.cite(f"catalogue:{item.id}:{name}", f"{name}: {passage}")
            verb = "mention" if isinstance(item.attributes.get(name), tuple) else "mentions"
            return Claim(text=f"its {name} {verb} " + ", ".join(f"“{w}”" for w in held), evidence=(source,))
    return None


def _passage(text: str, words: Collection[str], limit: int = 300) -> str:
    """The beginning of a text, or, where none of the words stands in it, what is around the first of them."""
    head = one_line(text, limit)
    if not words or not set(words).isdisjoint(fold(head).split()):
        return head
    tokens = text.split()
    first = next((at for at, token in enumerate(tokens) if not set(words).isdisjoint(fold(token).split())), 0)
    around = one_line(" ".join(tokens[max(0, first - 5) :]), limit - 2)
    return "… " + (around if not set(words).isdisjoint(fold(around).split()) else one_line(tokens[first], limit - 2))


def asked_claim(context: TurnContext, item: Item, cited: Sequence[str], labels: Collection[str] = ()) -> list[Claim]:
    """What of its attributes was asked for: of several values those that were, where that is known."""
    facts = [(name, _asked_for(item.attributes[name], labels)) for name in cited if name in item.attributes]
    if not facts:
        return []
    ids = tuple(context.cite(f"catalogue:{item.id}:{name}", f"{name}: {say_value(value)}") for name, value in facts)
    return [Claim(text="as asked: " + "; ".join(f"{named(n, v)} {say_value(v)}" for n, v in facts), evidence=ids)]


def _asked_for(value: float | str | tuple[str, ...], labels: Collection[str]) -> float | str | tuple[str, ...]:
    if not isinstance(value, tuple):
        return value
    asked = [fold(label) for label in labels]
    return tuple(one for one in value if any(f" {label} " in f" {fold(one)} " for label in asked)) or value


def _personal_claims(context: TurnContext, item: Item, ranked: Ranked) -> list[Claim]:
    claims: list[Claim] = []
    for contribution in ranked.contributions:
        if contribution.part == "tastes" and contribution.amount > 0:
            taste = next(t for t in context.profile.tastes if contribution.ref == f"event:{t.event_id}")
            words = f"you said you like {one_line(taste.term, 40)}"
            claims.append(Claim(text=words, evidence=(context.cite(contribution.ref, words),)))
            break
    # Of a part that pulls the item down as a whole, the few records that pull it up are no reason to show it; nor is
    # anything of a part that counts against what it names.
    past = [
        c
        for c in ranked.contributions
        if c.amount > 0 and c.direct and c.row is not None and ranked.parts.get(c.part, 0.0) > 0
    ]
    first = next((c for c in past if is_borne_out(context, c, ranked.row)), None)
    if first is not None:
        wanted = is_liked(context, first)
        like_it = (
            c
            for c in past
            if c.part == first.part and c.amount >= WORTH_TELLING * first.amount and is_liked(context, c) == wanted
        )
        told = list(islice((c for c in like_it if is_borne_out(context, c, ranked.row)), 2))
        records = [history_record(context, c.ref, c.row) for c in told if c.row is not None]
        names = " and ".join(label for label, _ in records)
        past_ids = tuple(context.cite(record.id, record.text) for _, record in records)
        counted = tuple(context.cite(one.id, one.text) for c in told for one in seldom_records(context, c, ranked.row))
        model = context.cite(
            f"model:{first.part}:{item.id}",
            f"{first.part} model: {first.amount:+.3f} of the score {ranked.score:+.3f} comes from the first",
        )
        path = _path(context, item, first) if first.part == "graph" else None
        if path is not None:
            claims.append(Claim(text=path[0], evidence=(past_ids[0], *path[1], model)))
        else:
            words = part_words(first.part, names, liked=wanted, counted=counts_people(context))
            claims.append(Claim(text=words, evidence=(*past_ids, *counted, model)))
    elif ranked.parts.get("sequence", 0.0) > 0 and len(history_of(context).chosen()):
        # The transformer reads the history as a whole: nothing of it is answerable by itself.
        source = context.cite(
            f"model:sequence:{item.id}",
            f"sequence model: {ranked.parts['sequence']:+.3f} of the score {ranked.score:+.3f}",
        )
        claims.append(Claim(text="follows from what you chose lately, taken together", evidence=(source,)))
    return claims


def _path(context: TurnContext, item: Item, contribution: Contribution) -> tuple[str, tuple[str, ...]] | None:
    """What leads from one record to an item in the graph, in words, and the further records it rests on."""
    graph = context.knowledge.ranker.rankers.get("graph")
    if not isinstance(graph, GraphRanker) or contribution.row is None:
        return None
    row = context.knowledge.catalogue.row_of[item.id]
    found = graph.paths(from_events([contribution.row], [1.0], [contribution.ref]), row, 1)
    if not found:
        return None
    name, path = one_line(context.knowledge.title(context.knowledge.catalogue.ids[contribution.row]), 80), found[0]
    if path.label is None:
        return f"{people(path.people)} chose both {name} and this", ()
    text = f"{path.relation}: {one_line(path.label, 80)}"
    sources = tuple(context.cite(source, text) for source in path.evidence[1:])
    return f"shares {singular(path.relation)} {one_line(path.label, 80)} with {name}, on your record", sources


def is_borne_out(context: TurnContext, contribution: Contribution, row: int) -> bool:
    """Whether what its part says of a record is so: that people seldom choose something is counted, and that they
    choose it where the part would expect it of people of whom there are none."""
    if _says_seldom(context, contribution):
        return bool(seldom_records(context, contribution, row))
    return contribution.part != "posterior" or people_in_common(context, contribution.row, row) != 0


def seldom_records(context: TurnContext, contribution: Contribution, row: int) -> tuple[Evidence, ...]:
    """The counts that its part's words rest on, where they say that people seldom choose the item."""
    if contribution.row is None or not _says_seldom(context, contribution):
        return ()
    found = seldom_record(context, contribution.row, row)
    return () if found is None else (found,)


def _says_seldom(context: TurnContext, contribution: Contribution) -> bool:
    return contribution.part in BEHAVIOUR and not is_liked(context, contribution)


def is_liked(context: TurnContext, contribution: Contribution) -> bool:
    """Whether the history item pulls (liked, or chosen) rather than pushes: what its claim must say.

    It pushes where it was turned away from in so many words, see :attr:`.history.History.behaviour`.
    """
    assert contribution.row is not None
    opinion = context.profile.items.get(context.knowledge.catalogue.ids[contribution.row])
    if opinion is not None and contribution.ref == f"event:{opinion.event_id}":
        return opinion.weight >= 0
    # What the log holds was chosen: however low its grade, no part of the ranker is pushed away by it
    # (`History.leanings`), so that what it lifts is near it.
    return True


def history_record(context: TurnContext, ref: str, row: int) -> tuple[str, Evidence]:
    """The title a history record is about, and the record."""
    item_id = context.knowledge.catalogue.ids[row]
    title = one_line(context.knowledge.title(item_id), 80)
    opinion = context.profile.items.get(item_id)
    if opinion is not None and ref == f"event:{opinion.event_id}":
        graded = f" {opinion.value:g}" if opinion.value is not None else ""
        return title, Evidence(id=ref, text=f"you said: {opinion.kind}{graded}, {title}")
    logged = context.knowledge.interactions.of_user(context.user)
    value = logged.values[logged.items == row]
    graded = f", rated {value[-1]:g}" if len(value) and value[-1] == value[-1] else ""
    return title, Evidence(id=ref, text=f"in your log: {title}{graded}")


def explored_claim(context: TurnContext, item: Item, ranked: Ranked) -> Claim:
    """Of what a list that does not explore would not have."""
    told = exploring_words(ranked)
    source = context.cite(f"model:explore:{item.id}", f"{told}; a list as long that does not explore is without it")
    return Claim(text="shown to learn more of your taste: without exploring it would not be here", evidence=(source,))


def exploring_words(ranked: Ranked) -> str:
    """What was drawn gives an item, in words for a record."""
    return f"a taste drawn from what is known of yours: {ranked.parts['explore']:+.3f} of the score {ranked.score:+.3f}"


def popularity_claim(context: TurnContext, item: Item, ranked: Ranked) -> Claim:
    count = int(context.knowledge.counts[context.knowledge.catalogue.row_of[item.id]])
    told = f"{people(count)} chose it in the log"
    if corrected := ranked.parts.get("debias", 0.0):
        told += f"; the correction for popularity changes its score by {corrected:+.3f}"
    source = context.cite(f"model:popularity:{item.id}", told)
    personal = any(amount > 0 for name, amount in ranked.parts.items() if name not in IMPERSONAL)
    alone = "" if personal and len(history_of(context)) else "; nothing personal put it here"
    return Claim(text=f"widely chosen ({people(count)}){alone}", evidence=(source,))


def plain_claim(context: TurnContext, item: Item) -> Claim:
    for name, value in item.attributes.items():
        source = context.cite(f"catalogue:{item.id}:{name}", f"{name}: {say_value(value)}")
        return Claim(text=f"{named(name, value)}: {say_value(value)}", evidence=(source,))
    source = context.cite(f"catalogue:{item.id}:title", f"title: {one_line(item.title)}")
    return Claim(text="in the catalogue; nothing more is known of it", evidence=(source,))
