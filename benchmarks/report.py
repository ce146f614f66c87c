"""Writes what a benchmark measured, with the machine and versions it was measured on, as Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = (
    "chromadb",
    "dowhy",
    "llama-cpp-python",
    "numpy",
    "open_clip_torch",
    "polars",
    "sentence-transformers",
    "torch",
)

Row = Mapping[str, str | float | int]


def machine() -> dict[str, str | int | float]:
    """Processor, cores this process may use, memory in GB, and what else kept them busy; no names, no paths."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": model,
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that matter to speed, where installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write(name: str, rows: Sequence[Row], notes: Sequence[str], seeds: Mapping[str, int]) -> Path:
    """Write ``results/<name>.md`` and ``.json``.

    Args:
        name: of the benchmark.
        rows: one a line of the table; a column is empty where a row lacks it. Numbers are written as given: round them.
        notes: sentences on what was measured and how.
        seeds: by what they seed.

    Returns:
        The Markdown file.
    """
    on, made_with, date = machine(), versions(), f"{datetime.now(UTC):%Y-%m-%d}"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        f"# {name}",
        "",
        *(f"- {note}" for note in notes),
        f"- {date}; {on['processor']}, {on['cores']} cores, {on['memory_gb']} GB, {on['system']}; "
        f"load average at the end {on['load_average']}",
        "- " + ", ".join(f"{library} {version}" for library, version in made_with.items()),
        "- seeds: " + (", ".join(f"{what} {seed}" for what, seed in seeds.items()) or "none"),
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows),
    ]
    RESULTS.mkdir(exist_ok=True)
    content = {
        "name": name,
        "date": date,
        "machine": on,
        "versions": made_with,
        "seeds": dict(seeds),
        "notes": list(notes),
        "rows": [dict(row) for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    target = RESULTS / f"{name}.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def _cell(value: str | float | int) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else value.replace("|", "\\|")
