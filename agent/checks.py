"""What ``llm4rec doctor`` looks at: the installation, the models, the workspace."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .. import threads
from ..catalog.rebuild import read_mark
from ..catalog.workspace import Workspace
from ..errors import Llm4RecError, UserError
from ..tools.results import Record, Versioned

if TYPE_CHECKING:
    from ..causal.report import BiasReport

PACKAGES = (
    "llama-cpp-python",
    "langgraph",
    "langchain-core",
    "chromadb",
    "torch",
    "sentence-transformers",
    "open_clip_torch",
    "dowhy",
    "polars",
)
#: Free space below which a build is likely to fail, in bytes.
LITTLE_SPACE = 2 * 1024**3


class Finding(Record):
    """One thing looked at. ``note`` is worth knowing; ``bad`` means that something will not work."""

    level: Literal["ok", "note", "bad"]
    what: str
    text: str


class Examination(Versioned):
    """Everything the doctor found."""

    schema_: Literal["llm4rec.doctor/1"] = Field(default="llm4rec.doctor/1", alias="schema")
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        return all(finding.level != "bad" for finding in self.findings)


def examine(root: Path, llm: str | None, adapter: Path | None = None, *, profiles: str | None = None) -> Examination:
    """Look at everything; whatever is broken becomes a finding, not an error."""
    findings = [
        Finding(
            level="ok",
            what="machine",
            text=f"Python {platform.python_version()}, {threads.cores()} cores: {threads.llm_threads()} threads for "
            f"the language model, {threads.encoder_threads()} for the encoders",
        )
    ]
    for name, look in (
        ("packages", _packages),
        ("language model", lambda: _language_model(llm, adapter)),
        ("encoders", _encoders),
        ("workspace", lambda: _workspace(root, profiles)),
    ):
        findings.extend(_guarded(name, look))
    return Examination(findings=tuple(findings))


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Llm4RecError as error:
        found.append(Finding(level="bad", what=what, text=str(error)))
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        found.append(Finding(level="bad", what=what, text=f"{type(error).__name__}: {error}"))
    return found


def _packages() -> Iterator[Finding]:
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding(level="bad", what="packages", text=f"{name} is not installed: pip install llm4rec again")
    yield Finding(level="ok", what="packages", text=", ".join(versions))


def _language_model(llm: str | None, adapter: Path | None) -> Iterator[Finding]:
    from .llm import describe_llm

    if llm == "rules" and adapter is not None:
        raise UserError(f"{adapter}: the rule-based planner takes no adapter; leave out --adapter")
    if llm == "rules":
        yield Finding(level="note", what="language model", text="none: the rule-based planner is asked for")
        return
    for level, text in describe_llm(llm, adapter=adapter):
        yield Finding(level=level, what="language model", text=text)


def _encoders() -> Iterator[Finding]:
    from ..catalog.weights import bundled_image_weights, bundled_text_model

    yield Finding(level="ok", what="encoders", text=f"bundled text model: {bundled_text_model()}")
    yield Finding(level="ok", what="encoders", text=f"bundled image weights: {bundled_image_weights()}")


def _workspace(root: Path, profiles: str | None) -> Iterator[Finding]:
    if not root.exists():
        yield Finding(level="note", what="workspace", text=f"none at {root}: make one with 'llm4rec build'")
        return
    free = shutil.disk_usage(root).free
    if free < LITTLE_SPACE:
        yield Finding(level="note", what="disk", text=f"{free / 1024**3:.1f} GiB free at {root}: a build may not fit")
    workspace = Workspace(root)
    manifest = workspace.open().manifest
    yield Finding(
        level="ok",
        what="workspace",
        text=f"{manifest.source} ({manifest.kind}), {manifest.items:,} items, {manifest.users:,} users, "
        f"{manifest.interactions:,} interactions, built {manifest.created:%Y-%m-%d %H:%M} UTC"
        + (", simulated log" if manifest.simulated else ""),
    )
    if (marked := read_mark(workspace.open().path)) is not None:
        yield Finding(level="note", what="forgotten", text=marked.text())
    from .opening import open_workspace

    opened = open_workspace(root, profiles=profiles)
    try:
        knowledge = opened.knowledge()
        yield Finding(
            level="ok",
            what="stores",
            text=f"profiles in {knowledge.store.place}, users with events: {len(knowledge.store.users())}, live "
            f"catalogue version {knowledge.version}, views {', '.join(opened.views)} open",
        )
        # Encoders load when they are first used, and are compared with the build's then.
        opened.text_encoder.encode(["a word"])
        if opened.image_encoder is not None:
            opened.image_encoder.encode_texts(["a word"])
        yield Finding(
            level="ok", what="encoders", text="; ".join(f"{name}: {v.model}" for name, v in manifest.views.items())
        )
        ranker = opened.models.metadata
        learned = f"weights learned on {ranker.learned_on:,} events" if ranker.learned_on else "fixed weights"
        yield Finding(level="ok", what="ranker", text=f"{', '.join(ranker.parts)}; {learned}")
        for note in ranker.notes():
            yield Finding(level="note", what="ranker", text=note)
        yield Finding(level="ok", what="bias report", text=_bias(opened.bias))
    finally:
        opened.close()


def _bias(report: BiasReport) -> str:
    """The verdict, the effect with its interval, and what is corrected."""
    from ..causal import wording

    first = report.popularity
    effect = f", {wording.effect(first.chosen, first.unit)}" if first.chosen is not None else ""
    amount = report.correction.per_doubling if report.correction is not None else 0.0
    corrected = f"{amount:.3g} of the score corrected for each doubling" if amount else "nothing corrected"
    return f"popularity: {first.verdict}{effect}; {corrected}"
