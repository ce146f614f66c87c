"""Pieces of GBNF text: literals, tries, bounded strings, number ranges, fields with commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from ..errors import Llm4RecError

#: Numbers without a bound stay within this many digits.
WIDEST = 9
#: Most decimals of a number.
FINEST = 6
#: Characters are named by what they are, not by what they are not: where a token ends inside a character, llama.cpp
#: takes a negated class to exclude every character that begins like an excluded one (all of Thai, for a control).
#: Surrogates are left out: their first two bytes may come, and then no third that makes a character.
_CHARACTER = r'[ !#-\[\]-~\u00A0-\uD7FF\uE000-\U0010FFFF] | "\\" ["\\]'
#: The same, and not a space: a string must not begin with one.
_FIRST_CHARACTER = r'[!#-\[\]-~\u00A0-\uD7FF\uE000-\U0010FFFF] | "\\" ["\\]'


class GrammarError(Llm4RecError, ValueError):
    """A schema says something that the grammar cannot promise. Names the tool, the field and the keyword."""


class Impossible(Exception):
    """An expression has no member with the ordinals at hand; the nearest optional part is left out."""


@dataclass
class Rules:
    """Named rules in the order they were added. Equal bodies share a name."""

    _bodies: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, hint: str, body: str) -> str:
        """Name a body; returns the rule's name."""
        if body not in self._names:
            stem = re.sub(r"[^a-zA-Z0-9]+", "-", hint).strip("-").lower() or "rule"
            name, number = stem, 1
            while name in self._bodies or name == "root":
                number += 1
                name = f"{stem}-{number}"
            self._bodies[name] = body
            self._names[body] = name
        return self._names[body]

    def grammar(self, root: str) -> str:
        """The whole text, with its root first."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())]) + "\n"


def literal(text: str) -> str:
    """A quoted GBNF literal."""
    out = []
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0:
            out.append(f"\\x{ord(character):02X}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'


def alternatives(ways: Sequence[str]) -> str:
    return ways[0] if len(ways) == 1 else "(" + " | ".join(ways) + ")"


def one_of(texts: Iterable[str]) -> str:
    """Exactly these texts, as a prefix tree: a long list then costs llama.cpp one path, not one per text."""
    tree: dict[str, Any] = {}
    for text in texts:
        node = tree
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}
    return _branch(tree)


def _branch(tree: Mapping[str, Any]) -> str:
    ends = "" in tree
    ways: list[str] = []
    for character, below in tree.items():
        if character == "":
            continue
        stem = character
        while len(below) == 1 and "" not in below:
            ((following, below),) = below.items()
            stem += following
        rest = _branch(below) if set(below) != {""} else ""
        ways.append(f"{literal(stem)} {rest}".strip())
    return f"{alternatives(ways)}" if not ends else f"({' | '.join(ways)})?"


def string(rules: Rules, least: int, most: int) -> str:
    """A JSON string of ``least`` to ``most`` characters, none a control character, the first no space."""
    if most == 0:
        return r'"\"\""'
    first, other = rules.add("first", _FIRST_CHARACTER), rules.add("char", _CHARACTER)
    body = f"{first} {other}{{{max(least - 1, 0)},{most - 1}}}" if most > 1 else first
    return rf'"\"" {body} "\""' if least else rf'"\"" ({body})? "\""'


def text(most: int) -> str:
    """A plain reply of 1 to ``most`` characters: no leading space or ``[``, no controls but the line feed."""
    return rf"[!-Z\\-~\u00A0-\uD7FF\uE000-\U0010FFFF] [\n -~\u00A0-\uD7FF\uE000-\U0010FFFF]{{0,{max(most - 1, 0)}}}"


def sequence(opening: str, entry: str, closing: str, least: int, most: int) -> str:
    """``least`` to ``most`` entries between brackets, with commas."""
    empty = literal(opening + closing)
    if most == 0:
        return empty
    more = f' ("," {entry}){{{max(least - 1, 0)},{most - 1}}}' if most > 1 else ""
    full = f"{literal(opening)} {entry}{more} {literal(closing)}"
    return full if least else f"{empty} | {full}"


def fields(rules: Rules, where: str, pairs: Sequence[tuple[str, bool]]) -> str:
    """An object of (``"key": value`` expression, required) in this order; optional ones may be missing."""
    if not pairs:
        return '"{}"'
    tails = [""]  # what may follow once something has been written, from the last field backwards
    for pair, required in reversed(pairs):
        here = f'"," {pair}' if required else f'("," {pair})?'
        tail = f"{here} {tails[0]}".strip()
        tails.insert(0, rules.add(f"{where}-rest", tail) if tails[0] else tail)
    ways: list[str] = []
    for position, (pair, required) in enumerate(pairs):
        ways.append(f"{pair} {tails[position + 1]}".strip())
        if required:
            break
    body = alternatives(ways)
    if any(required for _, required in pairs):
        return f'"{{" {body} "}}"'
    return f'"{{" ({" | ".join(ways)})? "}}"'


@dataclass(frozen=True)
class Bounds:
    """An interval of numbers; None is open. ``over`` and ``under`` exclude the end itself."""

    low: Decimal | None
    high: Decimal | None
    over: bool = False
    under: bool = False

    @classmethod
    def of(cls, schema: Mapping[str, Any], where: str) -> Bounds:
        """From ``minimum``, ``maximum``, ``exclusiveMinimum`` and ``exclusiveMaximum``.

        Raises:
            GrammarError: a bound is no finite number.
        """
        ends: dict[str, Decimal] = {}
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if keyword in schema:
                value = schema[keyword]
                number = Decimal(repr(value)) if type(value) in (int, float) else Decimal("nan")
                if not number.is_finite():
                    raise GrammarError(f"{where}: {keyword} is {value!r}, which is no finite number")
                ends[keyword] = number
        low, over = _tighter(ends.get("minimum"), ends.get("exclusiveMinimum"), max)
        high, under = _tighter(ends.get("maximum"), ends.get("exclusiveMaximum"), min)
        return cls(low, high, over, under)

    def __str__(self) -> str:
        left, right = "(" if self.over else "[", ")" if self.under else "]"
        low = "-inf" if self.low is None else self.low
        return f"{left}{low}, {'inf' if self.high is None else self.high}{right}"

    def within(self, low: int, high: int) -> Bounds:
        """The part of a whole-number interval that lies in ``low``..``high``."""
        least, most = self.scaled(0)
        return Bounds(Decimal(max(least, low)), Decimal(min(most, high)))

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.over or self.under))

    def scaled(self, places: int) -> tuple[int, int]:
        """The integers n with n / 10**places inside; an open end gets ``WIDEST`` digits, more if the other has more."""
        unit = Decimal(10) ** places
        widest = 10**WIDEST
        for end in (self.low, self.high):
            if end is not None:
                widest = max(widest, 10 * int(abs(end)))
        low = Decimal(1 - widest) if self.low is None else self.low
        high = Decimal(widest - 1) if self.high is None else self.high
        least = int((low * unit).to_integral_value(ROUND_CEILING))
        most = int((high * unit).to_integral_value(ROUND_FLOOR))
        if self.over and least == low * unit:
            least += 1
        if self.under and most == high * unit:
            most -= 1
        return least, most

    def multiples(self, step: Any, *, whole: bool, most: int) -> list[str]:
        """The multiples of ``step`` inside, as JSON; none when an end is open or there are more than ``most``."""
        size = Decimal(repr(step))
        if size <= 0 or self.low is None or self.high is None:
            return []
        scaled = replace(self, low=self.low / size, high=self.high / size)
        first, last = scaled.scaled(0)
        if last - first >= most:
            return []
        values = [(n * size).normalize() for n in range(first, last + 1)]
        if whole:
            values = [value for value in values if value == value.to_integral_value()]
        return [f"{abs(value) if value == 0 else value:f}" for value in values]

    def integers(self) -> str | None:
        """An expression for the whole numbers inside, or None if there are none."""
        return _signed(*self.scaled(0), 0)

    def decimals(self) -> str | None:
        """An expression for numbers inside with up to two decimals (more where the bounds need them)."""
        ends = [end for end in (self.low, self.high) if end is not None]
        finest = max([2, *(-int(end.normalize().as_tuple().exponent) for end in ends)])
        if finest > FINEST:
            return None
        ways = [_signed(*self.scaled(places), places) for places in range(finest + 1)]
        known = [way for way in ways if way is not None]
        return alternatives(known) if known else None


def _tighter(loose: Decimal | None, strict: Decimal | None, choose: Any) -> tuple[Decimal | None, bool]:
    if strict is None:
        return loose, False
    if loose is None or choose(loose, strict) == strict:
        return strict, True
    return loose, False


def _signed(least: int, most: int, places: int) -> str | None:
    """Numbers n / 10**places for n in least..most, written with exactly ``places`` decimals; no minus zero."""
    ways: list[str] = []
    if least < 0:
        negative = _unsigned(max(1, -most), -least, places)
        if negative is not None:
            ways.append(f'"-" {negative}')
    positive = _unsigned(max(0, least), most, places)
    if positive is not None:
        ways.append(positive)
    return alternatives(ways) if ways else None


def _unsigned(least: int, most: int, places: int) -> str | None:
    if least > most:
        return None
    if places == 0:
        return _naturals(least, most)
    unit = 10**places
    (first, fraction), (last, end) = divmod(least, unit), divmod(most, unit)

    def part(low: int, high: int) -> str:
        return _digits(str(low).zfill(places), str(high).zfill(places))

    if first == last:
        return f'{_naturals(first, first)} "." {part(fraction, end)}'
    ways: list[str] = []
    if fraction:
        ways.append(f'{_naturals(first, first)} "." {part(fraction, unit - 1)}')
        first += 1
    if end < unit - 1:
        ways.append(f'{_naturals(last, last)} "." {part(0, end)}')
        last -= 1
    if first <= last:
        ways.append(f'{_naturals(first, last)} "." {part(0, unit - 1)}')
    return alternatives(ways)


def _naturals(least: int, most: int) -> str:
    """Whole numbers without leading zeros."""
    ways: list[str] = []
    for size in range(len(str(least)), len(str(most)) + 1):
        low = max(least, 10 ** (size - 1) if size > 1 else 0)
        ways.append(_digits(str(low), str(min(most, 10**size - 1))))
    return alternatives(ways)


def _digits(low: str, high: str) -> str:
    """Digit strings of one length between two of them."""
    if low == high:
        return f'"{low}"'
    size = len(low) - 1
    if low[0] == high[0]:
        return f'"{low[0]}" {_digits(low[1:], high[1:])}'
    ways: list[str] = []
    first, last = int(low[0]), int(high[0])
    if size and low[1:] != "0" * size:
        ways.append(f'"{low[0]}" {_digits(low[1:], "9" * size)}')
        first += 1
    if size and high[1:] != "9" * size:
        ways.append(f'"{high[0]}" {_digits("0" * size, high[1:])}')
        last -= 1
    if first <= last:
        head = f"[{first}-{last}]" if first < last else f'"{first}"'
        ways.append(head + ("" if not size else " [0-9]" if size == 1 else f" [0-9]{{{size}}}"))
    return alternatives(ways)
