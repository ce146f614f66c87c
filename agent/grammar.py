"""From tool schemas to one GBNF grammar: a plan that a model cannot get wrong.

A plan is ``[search_items{"query":"..."},recommend{}]`` (see :mod:`llm4rec.graphs.encoding`): no space between tokens,
fields in the schema's order, optional fields left out or written. Every member of the grammar is valid under its
tool's JSON schema, and every member is finite: strings, lists and the number of calls are bounded, and there is no
free white space. What the grammar cannot promise is refused with :class:`GrammarError`; nothing is loosened silently.

GBNF is llama.cpp's grammar notation: quoted literals, character classes, ``|``, groups and ``{m,n}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..graphs.encoding import NAME
from . import _gbnf
from ._gbnf import GrammarError, Impossible, Rules, alternatives, literal, one_of

__all__ = ["GrammarError", "ToolSchema", "plan_grammar", "value_grammar"]

#: Characters of a string whose schema sets no ``maxLength``; entries of a list without ``maxItems``.
STRING_LIMIT = 120
LIST_LIMIT = 6
#: A schema's own ``maxLength`` and ``maxItems`` are honoured up to here (llama.cpp refuses long repetitions).
LONGEST_STRING = 1000
LONGEST_LIST = 64
#: Keyword for a string that is made of given words (not JSON schema's own: a validator ignores it), and how many
#: of them may be left out between two that are used.
WORDS = "x-words"
MOST_SKIPPED = 6
#: Keyword for a string that is made of given words in any order, each as often as wanted, and how long such a word is
#: at most: the longest decides how many there may be.
VOCABULARY = "x-vocabulary"
LONGEST_WORD = 24
#: Most values of a ``multipleOf`` that are spelled out.
MOST_MULTIPLES = 256

_UNSUPPORTED = (
    "not", "if", "then", "else", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
    "contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties", "minProperties",
    "maxProperties", "pattern", "$dynamicRef", "additionalItems", "dependencies",
)  # fmt: skip
_ASSERTIONS = (
    "type", "enum", "const", "properties", "required", "items", "prefixItems", "minItems", "maxItems", "minLength",
    "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "anyOf", "oneOf",
    "allOf", "$ref",
)  # fmt: skip


@dataclass(frozen=True)
class ToolSchema:
    """What a planner may call.

    Attributes:
        name: as the planner writes it.
        description: one line for the prompt.
        parameters: JSON schema (2020-12) of the arguments, an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, tool: Mapping[str, Any]) -> ToolSchema:
        """From an OpenAI function description, with or without its ``{"type": "function"}`` envelope."""
        function = tool.get("function", tool)
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        return cls(name=function["name"], description=function.get("description", ""), parameters=parameters)


def plan_grammar(
    tools: Sequence[ToolSchema],
    *,
    max_calls: int = 3,
    allow_text: bool = False,
    ordinals: int | None = None,
    text_limit: int = 600,
) -> str:
    """GBNF of all plans over these tools.

    Args:
        max_calls: most calls in one plan (at least 1).
        allow_text: whether a plain reply (not starting with ``[``) may stand in place of a plan.
        ordinals: how many items are on the table. Integer fields marked ``{"ordinal": true}`` then take
            1..ordinals only; with 0, such a field is left out, and so is a tool that requires one. None: no limit.
        text_limit: most characters of a plain reply.

    Raises:
        GrammarError: a schema cannot be expressed, or nothing at all can be said.
    """
    spelled = tuple((tool.name, json.dumps(tool.parameters, sort_keys=False)) for tool in tools)
    return _plan_grammar(spelled, max_calls, allow_text, ordinals, text_limit)


@lru_cache(maxsize=64)
def _plan_grammar(
    tools: tuple[tuple[str, str], ...], max_calls: int, allow_text: bool, ordinals: int | None, text_limit: int
) -> str:
    if max_calls < 1:
        raise GrammarError(f"max_calls is {max_calls}: a plan has at least one call")
    rules = Rules()
    seen: dict[str, str] = {}
    calls: list[str] = []
    for name, spelled in tools:
        try:
            arguments = _Writer(rules, json.loads(spelled), name, ordinals).root()
        except Impossible:
            continue
        if seen.setdefault(name, arguments) != arguments:
            raise GrammarError(f"two tools are called {name!r} and take different arguments")
        if not NAME.fullmatch(name):
            raise GrammarError(f"a tool cannot be called {name!r}: letters, digits, '_', '.' and '-' make a name")
        calls.append(rules.add(f"call-{name}", f"{literal(name)} {arguments}"))
    ways: list[str] = []
    if calls:
        call = rules.add("call", alternatives(list(dict.fromkeys(calls))))
        more = f' ("," {call}){{0,{max_calls - 1}}}' if max_calls > 1 else ""
        ways.append(rules.add("plan", f'"[" {call}{more} "]"'))
    if allow_text:
        ways.append(rules.add("text", _gbnf.text(text_limit)))
    if not ways:
        raise GrammarError("none of the tools can be called now, and a plain reply is not allowed")
    return rules.grammar(" | ".join(ways))


def value_grammar(schema: Mapping[str, Any], *, ordinals: int | None = None) -> str:
    """GBNF of one JSON value under a schema.

    Raises:
        GrammarError: the schema cannot be expressed or has no member.
    """
    rules = Rules()
    try:
        return rules.grammar(_Writer(rules, schema, "value", ordinals).root())
    except Impossible:
        raise GrammarError("value: the schema has no member") from None


class _Writer:
    """Writes the rules of one schema. ``where`` in messages is the path of the field at hand."""

    def __init__(self, rules: Rules, schema: Mapping[str, Any], name: str, ordinals: int | None) -> None:
        self._rules = rules
        self._schema = schema
        self._name = name
        self._ordinals = ordinals
        self._open: tuple[str, ...] = ()

    def root(self) -> str:
        return self._value(self._schema, self._name, ordinal=False)

    def _value(self, schema: Any, where: str, *, ordinal: bool) -> str:
        """An expression for a value; adds the rules that it needs.

        Raises:
            Impossible: no value is possible with these ordinals.
            GrammarError: a keyword cannot be expressed.
        """
        if schema is True:
            schema = {}
        if not isinstance(schema, Mapping):
            raise GrammarError(f"{where}: {schema!r} is no schema")
        for keyword in _UNSUPPORTED:
            if keyword in schema:
                raise GrammarError(f"{where}: the keyword {keyword!r} cannot be expressed in a grammar")
        ordinal = ordinal or schema.get("ordinal") is True
        if "$ref" in schema:
            return self._reference(schema, where, ordinal)
        if "allOf" in schema:
            return self._all(schema, where, ordinal)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._any(schema, keyword, where, ordinal)
        if "const" in schema or "enum" in schema:
            return self._enumeration(schema, where)
        kinds = schema.get("type", _implied(schema))
        if isinstance(kinds, list):
            split = [{**schema, "type": kind} for kind in kinds]
            return self._possible([(s, where) for s in split], ordinal)
        return self._typed(kinds, schema, where, ordinal)

    def _typed(self, kind: str | None, schema: Mapping[str, Any], where: str, ordinal: bool) -> str:
        match kind:
            case None:
                scalars = [{"type": t} for t in ("string", "number", "boolean", "null")]
                return self._possible([(s, where) for s in scalars], ordinal)
            case "null":
                return '"null"'
            case "boolean":
                return '("true" | "false")'
            case "string":
                return self._string(schema, where)
            case "integer" | "number":
                return self._number(schema, where, whole=kind == "integer", ordinal=ordinal)
            case "array":
                return self._array(schema, where, ordinal)
            case "object":
                return self._object(schema, where)
            case _:
                raise GrammarError(f"{where}: the type {kind!r} is not known")

    def _reference(self, schema: Mapping[str, Any], where: str, ordinal: bool) -> str:
        target = schema["$ref"]
        parts = target.split("/") if isinstance(target, str) else []
        if parts[:1] != ["#"]:
            raise GrammarError(f"{where}: $ref {target!r} does not point into its own schema")
        if target in self._open:
            raise GrammarError(f"{where}: $ref {target!r} contains itself, so a plan might never end")
        found: Any = self._schema
        for part in parts[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise GrammarError(f"{where}: $ref {target!r} points at nothing")
            found = found[key]
        beside = {k: v for k, v in schema.items() if k != "$ref"}
        if any(k in found and found[k] != beside[k] for k in beside if k in _ASSERTIONS):
            raise GrammarError(f"{where}: $ref {target!r} and the keywords beside it disagree")
        self._open += (target,)
        try:
            return self._value({**found, **beside}, where, ordinal=ordinal)
        finally:
            self._open = self._open[:-1]

    def _all(self, schema: Mapping[str, Any], where: str, ordinal: bool) -> str:
        parts = schema["allOf"]
        beside = {k: v for k, v in schema.items() if k != "allOf"}
        if len(parts) != 1 or any(k in beside for k in _ASSERTIONS):
            raise GrammarError(f"{where}: 'allOf' of several parts cannot be expressed in a grammar")
        return self._value({**beside, **parts[0]}, where, ordinal=ordinal)

    def _any(self, schema: Mapping[str, Any], keyword: str, where: str, ordinal: bool) -> str:
        beside = [k for k in _ASSERTIONS if k in schema and k != keyword]
        if beside:
            raise GrammarError(f"{where}: {keyword!r} beside {beside[0]!r} cannot be expressed in a grammar")
        parts = schema[keyword]
        if keyword == "oneOf" and "discriminator" not in schema and not _disjoint(parts):
            raise GrammarError(f"{where}: 'oneOf' needs a discriminator or parts of different types")
        return self._possible([(part, where) for part in parts], ordinal)

    def _possible(self, parts: Sequence[tuple[Any, str]], ordinal: bool) -> str:
        """The alternatives that have members."""
        ways: list[str] = []
        for part, where in parts:
            try:
                ways.append(self._value(part, where, ordinal=ordinal))
            except Impossible:
                continue
        if not ways:
            raise Impossible
        return alternatives(list(dict.fromkeys(ways)))

    def _enumeration(self, schema: Mapping[str, Any], where: str) -> str:
        beside = [k for k in _ASSERTIONS if k in schema and k not in ("enum", "const", "type")]
        if beside:
            raise GrammarError(f"{where}: an enumeration beside {beside[0]!r} cannot be expressed in a grammar")
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        if "const" in schema and "enum" in schema and schema["const"] not in schema["enum"]:
            values = []
        kinds = schema.get("type")
        if kinds is not None:
            allowed = kinds if isinstance(kinds, list) else [kinds]
            values = [value for value in values if any(_is(value, kind) for kind in allowed)]
        if not values:
            raise GrammarError(f"{where}: the enumeration has no value")
        spelled = [json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False) for value in values]
        return self._rules.add(f"{where}-enum", one_of(spelled))

    def _string(self, schema: Mapping[str, Any], where: str) -> str:
        if "format" in schema:
            raise GrammarError(f"{where}: the string format {schema['format']!r} cannot be expressed in a grammar")
        least = int(schema.get("minLength", 0))
        most = min(int(schema.get("maxLength", max(STRING_LIMIT, least))), LONGEST_STRING)
        if least > most:
            raise GrammarError(f"{where}: a string of {least} to {most} characters cannot be expressed")
        if WORDS in schema:
            return self._words(schema[WORDS], where, most)
        if VOCABULARY in schema:
            return self._spoken(schema[VOCABULARY], where, most)
        return self._rules.add("string", _gbnf.string(self._rules, least, most))

    def _spoken(self, words: Any, where: str, most: int) -> str:
        """One or more of the words, in any order, as many as fit whichever they are."""
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            raise GrammarError(f"{where}: {VOCABULARY!r} needs a list of words")
        short = [word for word in dict.fromkeys(words) if len(word) <= min(LONGEST_WORD, most)]
        if not short:
            raise Impossible
        word = self._rules.add("said", one_of(json.dumps(one, ensure_ascii=False)[1:-1] for one in short))
        times = (most + 1) // (max(map(len, short)) + 1)
        more = f' (" " {word}){{0,{times - 1}}}' if times > 1 else ""
        return self._rules.add("spoken", literal('"') + f" {word}{more} " + literal('"'))

    def _words(self, words: Any, where: str, most: int) -> str:
        """Some of the words, each at most once, in their order: a copy of what was said, perhaps with gaps."""
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            raise GrammarError(f"{where}: {WORDS!r} needs a list of words")
        kept: list[str] = []
        for word in words:
            if sum(map(len, kept)) + len(kept) + len(word) > most:
                break
            kept.append(word)
        if not kept:
            raise Impossible
        after: list[str] = []
        for position in reversed(range(len(kept))):
            spelled = literal(json.dumps(kept[position], ensure_ascii=False)[1:-1])
            following = after[:MOST_SKIPPED]
            tail = f' (" " {alternatives(following)})?' if following else ""
            after.insert(0, self._rules.add("from-word", spelled + tail))
        return self._rules.add("words", literal('"') + f" {alternatives(after)} " + literal('"'))

    def _number(self, schema: Mapping[str, Any], where: str, *, whole: bool, ordinal: bool) -> str:
        bounds = _gbnf.Bounds.of(schema, where)
        if ordinal and self._ordinals is not None:
            if not whole:
                raise GrammarError(f"{where}: an ordinal must be an integer")
            bounds = bounds.within(1, self._ordinals)
            if bounds.empty:
                raise Impossible
        step = schema.get("multipleOf")
        if bounds.empty:
            raise GrammarError(f"{where}: no number lies within the bounds {bounds}")
        if step is not None:
            values = bounds.multiples(step, whole=whole, most=MOST_MULTIPLES)
            if not values:
                raise GrammarError(f"{where}: 'multipleOf' {step} needs bounds with 1 to {MOST_MULTIPLES} multiples")
            return self._rules.add("number", one_of(values))
        expression = bounds.integers() if whole else bounds.decimals()
        if expression is None:
            raise GrammarError(f"{where}: no number that can be written lies within the bounds {bounds}")
        return self._rules.add("integer" if whole else "number", expression)

    def _array(self, schema: Mapping[str, Any], where: str, ordinal: bool) -> str:
        least = int(schema.get("minItems", 0))
        fixed = schema.get("prefixItems")
        if fixed is not None:
            if least != len(fixed) or schema.get("maxItems") != len(fixed):
                raise GrammarError(f"{where}: 'prefixItems' needs minItems and maxItems of its own length")
            entries = [self._value(part, f"{where}.{i}", ordinal=ordinal) for i, part in enumerate(fixed)]
            inside = ' "," '.join(entries) or '""'
            return self._rules.add(f"{where}-tuple", f'"[" {inside} "]"')
        most = min(int(schema.get("maxItems", max(LIST_LIMIT, least))), LONGEST_LIST)
        if least > most:
            raise GrammarError(f"{where}: a list of {least} to {most} entries cannot be expressed")
        if schema.get("uniqueItems") and most > 1:
            raise GrammarError(f"{where}: 'uniqueItems' cannot be expressed in a grammar")
        try:
            entry = self._value(schema.get("items", {}), f"{where}.items", ordinal=ordinal)
        except Impossible:
            if least:
                raise
            return '"[]"'
        return self._rules.add(f"{where}-list", _gbnf.sequence("[", entry, "]", least, most))

    def _object(self, schema: Mapping[str, Any], where: str) -> str:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = set(schema.get("required", ()))
        unknown = required - set(properties)
        if unknown:
            raise GrammarError(f"{where}: the required field {min(unknown)!r} has no schema")
        extra = schema.get("additionalProperties", False)
        if not properties and extra is not False:
            value = self._value(extra, f"{where}.values", ordinal=False)
            key = self._rules.add("string", _gbnf.string(self._rules, 1, 40))
            return self._rules.add(f"{where}-map", _gbnf.sequence("{", f'{key} ":" {value}', "}", 0, LIST_LIMIT))
        fields: list[tuple[str, bool]] = []
        for key, part in properties.items():
            try:
                value = self._value(part, f"{where}.{key}", ordinal=False)
            except Impossible:
                if key in required:
                    raise
                continue
            fields.append((f"{literal(json.dumps(key, ensure_ascii=False) + ':')} {value}", key in required))
        return self._rules.add(f"{where}-object", _gbnf.fields(self._rules, where, fields))


def _implied(schema: Mapping[str, Any]) -> str | None:
    """The type of a schema that names none but speaks of one."""
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return None


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and isinstance(value, (int, float)) and float(value).is_integer()
        case "number":
            return not isinstance(value, bool) and isinstance(value, (int, float))
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case _:
            return False


def _disjoint(parts: Sequence[Any]) -> bool:
    """Whether no value can satisfy two parts, judged by their types alone."""
    kinds = [part.get("type") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(kind, str) for kind in kinds):
        return False
    seen = ["number" if kind == "integer" else kind for kind in kinds]
    return len(set(seen)) == len(seen)
