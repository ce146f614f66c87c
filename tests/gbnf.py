"""An independent reading of GBNF for tests: draws random members of a grammar, and tells whether a text is one.

It shares nothing with the code under test: a small recursive-descent parser of the notation, a random walk, and a
translation to a regular expression (possible because a plan's grammar never contains itself).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache

#: What stands for "any character": letters mostly, then what has broken parsers before.
POOL = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789      .,:;!?'-_()[]{}<>/|@#$%&*+=~^`"
    'éßñøÅ中文日本語한국어العربيةעבריתрусский\u00a0\u200b\u200d\u202e\u2028\ufeff\U0001f600\U0001f468\u0301"\\\n\t'
)


@dataclass(frozen=True)
class Node:
    """One piece of a grammar: ``kind`` is text, chars, rule, all (in sequence), any (of them) or repeat."""

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False
    least: int = 1
    most: int | None = 1


class _Reader:
    def __init__(self, source: str) -> None:
        self.source, self.at = source, 0

    def space(self, *, lines: bool) -> None:
        while self.at < len(self.source) and self.source[self.at] in (" \t\n" if lines else " \t"):
            self.at += 1

    def peek(self) -> str:
        return self.source[self.at] if self.at < len(self.source) else ""

    def take(self, expected: str) -> None:
        if not self.source.startswith(expected, self.at):
            raise ValueError(f"{expected!r} expected at {self.at}: {self.source[self.at : self.at + 30]!r}")
        self.at += len(expected)

    def name(self) -> str:
        found = re.compile(r"[a-zA-Z0-9-]+").match(self.source, self.at)
        if found is None:
            raise ValueError(f"a name expected at {self.at}: {self.source[self.at : self.at + 30]!r}")
        self.at = found.end()
        return found.group()

    def character(self) -> str:
        character = self.peek()
        self.at += 1
        if character != "\\":
            return character
        code = self.peek()
        self.at += 1
        if code in "xuU":
            size = {"x": 2, "u": 4, "U": 8}[code]
            self.at += size
            return chr(int(self.source[self.at - size : self.at], 16))
        return {"n": "\n", "r": "\r", "t": "\t"}.get(code, code)

    def either(self, *, lines: bool) -> Node:
        ways = [self.row(lines=lines)]
        while self.peek() == "|":
            self.at += 1
            self.space(lines=lines)
            ways.append(self.row(lines=lines))
        return ways[0] if len(ways) == 1 else Node("any", parts=tuple(ways))

    def row(self, *, lines: bool) -> Node:
        parts: list[Node] = []
        while self.peek() and self.peek() not in "|)\n":
            parts.append(self.repeated(self.one(), lines=lines))
            self.space(lines=lines)
        return Node("all", parts=tuple(parts))

    def one(self) -> Node:
        if self.peek() == '"':
            self.at += 1
            text = ""
            while self.peek() != '"':
                text += self.character()
            self.at += 1
            return Node("text", text=text)
        if self.peek() == "[":
            return self.chars()
        if self.peek() == "(":
            self.at += 1
            self.space(lines=True)
            inside = self.either(lines=True)
            self.take(")")
            return inside
        return Node("rule", text=self.name())

    def chars(self) -> Node:
        self.take("[")
        negated = self.peek() == "^"
        self.at += negated
        ranges = []
        while self.peek() != "]":
            low = high = self.character()
            if self.peek() == "-" and self.source[self.at + 1] != "]":
                self.at += 1
                high = self.character()
            ranges.append((low, high))
        self.take("]")
        return Node("chars", ranges=tuple(ranges), negated=negated)

    def repeated(self, inside: Node, *, lines: bool) -> Node:
        self.space(lines=False)
        simple = {"?": (0, 1), "*": (0, None), "+": (1, None)}
        if self.peek() and self.peek() in simple:
            least, most = simple[self.peek()]
            self.at += 1
        elif self.peek() == "{":
            found = re.compile(r"\{(\d+)(,(\d*))?\}").match(self.source, self.at)
            if found is None:
                raise ValueError(f"a repetition expected at {self.at}")
            self.at = found.end()
            least = int(found.group(1))
            most = least if found.group(2) is None else int(found.group(3)) if found.group(3) else None
        else:
            return inside
        return Node("repeat", parts=(inside,), least=least, most=most)


@lru_cache(maxsize=256)
def parse(grammar: str) -> dict[str, Node]:
    """The rules of a grammar by name."""
    rules: dict[str, Node] = {}
    reader = _Reader(grammar)
    reader.space(lines=True)
    while reader.peek():
        name = reader.name()
        reader.space(lines=False)
        reader.take("::=")
        reader.space(lines=False)
        rules[name] = reader.either(lines=False)
        reader.space(lines=True)
    return rules


def random_string(grammar: str, rng: random.Random) -> str:
    """A random member of the grammar. Mostly short, now and then with every repetition at its bound."""
    return _draw(parse(grammar)["root"], parse(grammar), rng)


def _draw(node: Node, rules: dict[str, Node], rng: random.Random) -> str:
    match node.kind:
        case "text":
            return node.text
        case "rule":
            return _draw(rules[node.text], rules, rng)
        case "all":
            return "".join([_draw(part, rules, rng) for part in node.parts])
        case "any":
            return _draw(rng.choice(node.parts), rules, rng)
        case "chars":
            return _character(node, rng)
        case _:
            most = node.least + 20 if node.most is None else node.most
            dice = rng.random()
            count = most if dice < 0.03 else rng.randint(node.least, min(most, node.least + rng.choice((1, 3, 12))))
            return "".join([_draw(node.parts[0], rules, rng) for _ in range(count)])


@lru_cache(maxsize=1024)
def _allowed(node: Node) -> str:
    return "".join(c for c in POOL if any(low <= c <= high for low, high in node.ranges) != node.negated)


def _character(node: Node, rng: random.Random) -> str:
    pool = _allowed(node)
    if not node.negated and (len(pool) < 20 or rng.random() < 0.02):
        low, high = rng.choice(node.ranges)
        drawn = chr(rng.randint(ord(low), ord(high)))
        return drawn if not "\ud800" <= drawn <= "\udfff" else low
    return rng.choice(pool)


@lru_cache(maxsize=256)
def _pattern(grammar: str) -> re.Pattern[str]:
    return re.compile(_regex(parse(grammar)["root"], parse(grammar)), re.DOTALL)


def matches(grammar: str, text: str) -> bool:
    """Whether the text is a member of the grammar."""
    return _pattern(grammar).fullmatch(text) is not None


def _regex(node: Node, rules: dict[str, Node]) -> str:
    match node.kind:
        case "text":
            return re.escape(node.text)
        case "rule":
            return _regex(rules[node.text], rules)
        case "all":
            return "".join(_regex(part, rules) for part in node.parts)
        case "any":
            return "(?:" + "|".join(_regex(part, rules) for part in node.parts) + ")"
        case "chars":
            inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in node.ranges)
            return f"[{'^' if node.negated else ''}{inside}]"
        case _:
            bound = "" if node.most is None else str(node.most)
            return f"(?:{_regex(node.parts[0], rules)}){{{node.least},{bound}}}"
