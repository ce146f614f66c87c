"""Plans as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.graphs.encoding import decode_plan, encode_plan

VALUES = st.text(max_size=20) | st.integers(-5000, 5000) | st.booleans() | st.none()
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
            "arguments": st.dictionaries(st.text(max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=4),
        }
    ),
    max_size=4,
)


@given(CALLS)
def test_what_is_written_is_read(calls: list[dict[str, Any]]) -> None:
    assert decode_plan(encode_plan(calls)) == calls


def test_a_plan_is_compact() -> None:
    plan = encode_plan([{"name": "search_items", "args": {"query": "a “b”", "year_max": 1979}}, {"name": "recommend"}])
    assert plan == '[search_items{"query":"a “b”","year_max":1979},recommend{}]'


@pytest.mark.parametrize(
    "text",
    ["", "[", "hello", "[recommend]", "[recommend{}", "[{}]", "[a{}b{}]", "[a{},]", "[a[1]]", "[a{}] ", '[a{"x":}]'],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"plan|expected|arguments|JSON|Expecting|delimiter|value"):
        decode_plan(text)
