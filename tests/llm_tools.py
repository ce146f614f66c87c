"""Two tools for the tests of the chat model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Search(BaseModel, extra="forbid"):
    """Find items."""

    query: str = Field(min_length=1, max_length=20)
    limit: int = Field(default=5, ge=1, le=20)
    order: Literal["best", "new"] = "best"


class About(BaseModel, extra="forbid"):
    """Tell about an item of the list."""

    ordinal: int = Field(ge=1, json_schema_extra={"ordinal": True})
