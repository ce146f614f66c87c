"""The documented JSON schemas are those of the code.

``LLM4REC_WRITE_SCHEMAS=1 pytest tests/test_json_schemas.py`` renews them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from llm4rec.agent.checks import Examination
from llm4rec.agent.live import CatalogueChange
from llm4rec.catalog.workspace import Manifest
from llm4rec.causal.report import BiasReport
from llm4rec.evaluation.curve import Curve
from llm4rec.evaluation.exporting import Exported
from llm4rec.evaluation.ope import OpeReport
from llm4rec.evaluation.ope.placed import PlacementReport
from llm4rec.evaluation.results import ReplayResult
from llm4rec.profiles.store import Receipt
from llm4rec.profiles.transfer import ProfileExport
from llm4rec.tools.person import Person
from llm4rec.tools.results import Failure, ItemList, Turn
from pydantic import BaseModel

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
#: Versions of the forms; 1 where none is named.
VERSIONS = {"bias": 2, "profile": 2, "forgotten": 2}
MODELS: dict[str, type[BaseModel]] = {
    "build": Manifest,
    "items": ItemList,
    "turn": Turn,
    "error": Failure,
    "bias": BiasReport,
    "bias-curve": Curve,
    "placement": PlacementReport,
    "person": Person,
    "profile": ProfileExport,
    "forgotten": Receipt,
    "items-changed": CatalogueChange,
    "doctor": Examination,
    "replay": ReplayResult,
    "ope": OpeReport,
    "export": Exported,
}


def form(name: str) -> str:
    return f"llm4rec.{name}/{VERSIONS.get(name, 1)}"


@pytest.mark.parametrize("name", MODELS)
def test_documented(name: str) -> None:
    schema = MODELS[name].model_json_schema(mode="serialization")
    path = FOLDER / f"{name}.json"
    if os.environ.get("LLM4REC_WRITE_SCHEMAS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == schema
    assert form(name) in json.dumps(schema)


def test_all_are_in_the_page() -> None:
    page = (FOLDER.parent / "json-output.md").read_text(encoding="utf-8")
    assert all(f"schemas/{name}.json" in page and form(name) in page for name in MODELS)
