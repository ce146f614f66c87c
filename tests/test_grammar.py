"""Plans as grammars: sound under JSON schema and pydantic, finite, and complete where completeness matters."""

from __future__ import annotations

import json
import math
import random
from enum import Enum
from typing import Any, Literal

import gbnf
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent.grammar import GrammarError, ToolSchema, plan_grammar, value_grammar
from llm4rec.errors import Llm4RecError
from llm4rec.graphs.encoding import decode_plan
from pydantic import BaseModel, Field

DRAWS = 12


def draw(grammar: str, count: int = 200, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [gbnf.random_string(grammar, rng) for _ in range(count)]


# ---- random schemas -----------------------------------------------------------------------------------------


@st.composite
def integers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    low = draw(st.none() | st.integers(-(10**5), 10**5))
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        high = (low or 0) + draw(st.integers(2, 2000))
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = high
        if draw(st.booleans()) and low is not None and high - low > 10:
            schema["multipleOf"] = draw(st.integers(1, 4)) if high - low < 200 else 10
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "number"}
    low = draw(st.none() | st.decimals(-100, 100, places=2).map(float))
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        gap = draw(st.decimals("0.02", 50, places=2).map(float))
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = round((low or 0.0) + gap, 2)
    return schema


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    least = draw(st.integers(0, 5))
    if draw(st.booleans()):
        schema["minLength"] = least
    if draw(st.booleans()):
        schema["maxLength"] = least + draw(st.integers(0, 30))
    return schema


SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8).filter(str.isprintable)
LEAVES = st.one_of(
    integers(),
    numbers(),
    strings(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda v: {"enum": v}, st.lists(SCALARS, min_size=1, max_size=6)),
    st.builds(lambda v: {"const": v}, SCALARS),
    st.just({"type": ["integer", "null"]}),
    st.just({}),
)
KEYS = st.text('abcdefghijk_éü"\\ ', min_size=1, max_size=6)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(KEYS, inner, max_size=5))
    required = [key for key in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(inner)}
    least = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["minItems"] = least
    if draw(st.booleans()):
        schema["maxItems"] = least + draw(st.integers(0, 3))
    return schema


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner), arrays(inner), st.builds(lambda p: {"anyOf": p}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=8,
)


@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_every_member_is_valid(schema: dict[str, Any], seed: int) -> None:
    try:
        grammar = value_grammar(schema)
    except GrammarError as error:
        refused = str(error)  # only an interval without a number that can be written may be refused
    else:
        refused = ""
    if refused:
        assert "lies within the bounds" in refused or "multiples" in refused
        return
    validator = jsonschema.Draft202012Validator(schema)
    for text in draw(grammar, DRAWS, seed):
        value = json.loads(text)
        validator.validate(value)
        assert json.dumps(value, separators=(",", ":"), ensure_ascii=False) is not None
        assert "\n" not in text
        assert gbnf.matches(grammar, text)


@given(low=st.integers(-5000, 5000), size=st.integers(0, 5000), probe=st.integers(-12000, 12000))
@settings(max_examples=300, deadline=None)
def test_an_integer_range_is_exact(low: int, size: int, probe: int) -> None:
    grammar = value_grammar({"type": "integer", "minimum": low, "maximum": low + size})
    for value in (probe, low, low + size, low - 1, low + size + 1):
        assert gbnf.matches(grammar, str(value)) == (low <= value <= low + size)
    assert not gbnf.matches(grammar, "-0")
    assert not gbnf.matches(grammar, "01")


@given(low=st.integers(-3000, 3000), size=st.integers(0, 3000), probe=st.integers(-7000, 7000), over=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_decimal_range_is_exact_at_two_places(low: int, size: int, probe: int, over: bool) -> None:
    schema = {"type": "number", "exclusiveMinimum" if over else "minimum": low / 100, "maximum": (low + size) / 100}
    if over and size == 0:
        with pytest.raises(GrammarError):
            value_grammar(schema)
        return
    grammar = value_grammar(schema)
    for value in (probe, low, low + size, low - 1, low + size + 1, low + 1):
        inside = (low < value if over else low <= value) and value <= low + size
        if value != 0:
            assert gbnf.matches(grammar, f"{value / 100:.2f}") == inside
        if value % 100 == 0:
            assert gbnf.matches(grammar, str(value // 100)) == inside


# ---- pydantic -----------------------------------------------------------------------------------------------


class Sort(Enum):
    BEST = "best"
    NEWEST = "newest"


class Condition(BaseModel):
    attribute: Literal["genre", "year", "genres-alt"]
    op: Literal["is", "at_least"]
    value: str | int = Field(union_mode="left_to_right")


class Search(BaseModel, extra="forbid"):
    """Find items."""

    query: str = Field(min_length=1, max_length=40)
    filters: list[Condition] = Field(default_factory=list, max_length=2)
    sort: Sort | None = None
    limit: int = Field(default=5, ge=1, le=20)
    pair: tuple[int, bool] = (1, True)
    share: float = Field(default=0.5, gt=0.0, lt=1.0)
    tags: dict[str, int] = Field(default_factory=dict)


class Rate(BaseModel, extra="forbid"):
    ordinal: int = Field(ge=1, json_schema_extra={"ordinal": True})
    stars: float = Field(ge=0.5, le=5.0, multiple_of=0.5)


class About(BaseModel, extra="forbid"):
    ordinal: int | None = Field(default=None, ge=1, le=50, json_schema_extra={"ordinal": True})
    title: str | None = None


class Nothing(BaseModel, extra="forbid"):
    pass


MODELS: dict[str, type[BaseModel]] = {"search_items": Search, "rate": Rate, "about": About, "history": Nothing}
TOOLS = [ToolSchema(name, model.__doc__ or "", model.model_json_schema()) for name, model in MODELS.items()]


@pytest.mark.parametrize("ordinals", [None, 0, 1, 5, 12, 1000])
def test_every_plan_is_valid_under_its_tools(ordinals: int | None) -> None:
    grammar = plan_grammar(TOOLS, max_calls=3, ordinals=ordinals)
    seen: set[str] = set()
    for text in draw(grammar, 600):
        plan = decode_plan(text)
        assert 1 <= len(plan) <= 3
        for call in plan:
            seen.add(call["name"])
            parsed = MODELS[call["name"]].model_validate(call["arguments"])
            number = getattr(parsed, "ordinal", None)
            assert number is None or ordinals is None or 1 <= number <= ordinals
    assert seen == set(MODELS) - ({"rate"} if ordinals == 0 else set())


@pytest.mark.parametrize(
    ("plan", "allowed"),
    [
        ('[history{}]', True),
        ('[search_items{"query":"a \\"quoted\\" 映画"}]', True),
        ('[search_items{"query":"x","sort":null,"limit":20}]', True),
        ('[history{},history{}]', True),
        ('[history{}' + ',history{}' * 3 + "]", False),
        ('[search_items{"query":"x","limit":21}]', False),
        ('[search_items{"limit":5}]', False),
        ('[search_items{"query":""}]', False),
        ('[search_items{"query":" x"}]', False),
        ('[search_items{"query":"x\\ny"}]', False),
        ('[search_items{"query":"x\ny"}]', False),
        ('[rate{"ordinal":3,"stars":4.5}]', True),
        ('[rate{"ordinal":4,"stars":4.5}]', False),
        ('[rate{"ordinal":3,"stars":4.3}]', False),
        ('[about{"ordinal":null}]', True),
        ('[about{"title":"Heat","ordinal":1}]', False),
        ('[about{"ordinal":1,"title":"Heat"}]', True),
        ('[history {}]', False),
        ("[]", False),
        ("Hello", False),
    ],
)  # fmt: skip
def test_what_a_plan_may_be(plan: str, allowed: bool) -> None:
    assert gbnf.matches(plan_grammar(TOOLS, ordinals=3), plan) is allowed


def test_a_plain_reply_may_stand_beside_a_plan() -> None:
    grammar = plan_grammar(TOOLS, allow_text=True, text_limit=50)
    assert gbnf.matches(grammar, "Hello! 1 < 2\nand é")
    assert gbnf.matches(grammar, "[history{}]")
    assert not gbnf.matches(grammar, "[1] is the best")  # a list is a plan, never words
    assert not gbnf.matches(grammar, " hello")
    assert not gbnf.matches(grammar, "x" * 51)
    drawn = draw(grammar, 300)
    assert {text.startswith("[") for text in drawn} == {True, False}


def test_tools_that_need_an_item_are_left_out_of_an_empty_table() -> None:
    grammar = plan_grammar(TOOLS, ordinals=0)
    assert "rate" not in grammar
    assert gbnf.matches(grammar, '[about{"title":"Heat"}]')
    assert not gbnf.matches(grammar, '[about{"ordinal":1}]')
    with pytest.raises(GrammarError, match="none of the tools"):
        plan_grammar([TOOLS[1]], ordinals=0)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_plan_is_bounded(seed: int) -> None:
    bound = 3 * (40 * 2 + 2 * (2 * 120 + 60) + 6 * (2 * 40 + 30) + 300) + 10
    for text in draw(plan_grammar(TOOLS), 10, seed):
        assert len(text) <= bound


def test_many_labels_share_their_prefixes() -> None:
    labels = [f"genre {n}" for n in range(500)]
    grammar = value_grammar({"enum": labels})
    assert len(grammar) < 9000
    for label in labels:
        assert gbnf.matches(grammar, json.dumps(label))
    assert not gbnf.matches(grammar, '"genre 500"')
    assert set(draw(value_grammar({"enum": [1, 10, 100, -1, "1", 1.5, None, True, {"a": [1]}]}), 400)) == {
        "1", "10", "100", "-1", '"1"', "1.5", "null", "true", '{"a":[1]}',
    }  # fmt: skip


# ---- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "a+"}, "value: the keyword 'pattern'"),
        ({"type": "string", "format": "date"}, "format 'date'"),
        ({"type": "object", "properties": {"x": {"not": {}}}}, "value.x: the keyword 'not'"),
        ({"type": "array", "items": {"type": "object", "patternProperties": {}}}, "value.items: "),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "prefixItems": [{"type": "integer"}]}, "prefixItems"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "list of 3 to 2"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "string of 3 to 2"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "within the bounds"),
        ({"type": "integer", "minimum": 2.1, "maximum": 2.9}, "within the bounds"),
        ({"type": "number", "minimum": math.nan}, "no finite number"),
        ({"type": "integer", "multipleOf": 5}, "multipleOf"),
        ({"enum": []}, "no value"),
        ({"type": "string", "enum": [1]}, "no value"),
        ({"type": "thing"}, "type 'thing'"),
        ({"$ref": "#/$defs/A"}, "points at nothing"),
        ({"$ref": "http://elsewhere/a"}, "does not point into"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}}, "contains itself"),
        ({"anyOf": [{"type": "integer"}], "minimum": 3}, "'anyOf' beside 'minimum'"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "discriminator"),
        ({"allOf": [{"type": "integer"}, {"minimum": 1}]}, "allOf"),
        ({"type": "object", "required": ["x"]}, "required field 'x'"),
        (False, "no schema"),
    ],
)
def test_what_cannot_be_promised_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(GrammarError, match=message.replace("(", r"\(")) as caught:
        value_grammar(schema)
    assert isinstance(caught.value, Llm4RecError)
    assert "\n" not in str(caught.value)


def test_the_tool_and_the_field_are_named() -> None:
    bad = ToolSchema("find", "", {"type": "object", "properties": {"when": {"type": "string", "format": "date"}}})
    with pytest.raises(GrammarError, match=r"^find\.when: "):
        plan_grammar([bad])
    with pytest.raises(GrammarError, match="two tools are called 'about'"):
        plan_grammar([TOOLS[2], ToolSchema("about", "", TOOLS[0].parameters)])
    assert plan_grammar([TOOLS[0], TOOLS[0]]) == plan_grammar([TOOLS[0]])
    with pytest.raises(GrammarError, match="max_calls"):
        plan_grammar(TOOLS, max_calls=0)


def test_an_openai_description_is_read() -> None:
    function = {"name": "search_items", "description": "Find.", "parameters": {"type": "object", "properties": {}}}
    assert ToolSchema.of({"type": "function", "function": function}) == ToolSchema.of(function)
    assert ToolSchema.of({"name": "x"}).parameters == {"type": "object", "properties": {}}
