"""How many of what: words that change with a number, and what attributes are called in a sentence."""

from __future__ import annotations

#: Nouns whose plural looks like their singular.
_SAME = frozenset({"series", "species"})
#: Plurals of nouns that end in "ie".
_OF_IE = frozenset({"movies", "cookies", "calories"})


def people(count: int) -> str:
    """Such as "1 person" and "12 people"."""
    return f"{count} {'person' if count == 1 else 'people'}"


def singular(name: str) -> str:
    """What one value of an attribute is called: a "genre" of the genres. Names that are no plurals stay."""
    stem, gap, noun = name.rpartition("_")
    if noun in _SAME or len(noun) < 4 or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return name
    if noun.endswith("ies") and len(noun) > 4 and noun not in _OF_IE:
        return f"{stem}{gap}{noun[:-3]}y"
    return f"{stem}{gap}{noun[: -2 if noun.endswith(('xes', 'ches', 'shes', 'sses')) else -1]}"


def named(name: str, values: object) -> str:
    """What an attribute is called beside its values: of a single one of several that it could have, in the singular."""
    return singular(name) if isinstance(values, tuple) and len(values) == 1 else name
