"""How many threads each library may use, set in one place.

torch and llama.cpp each start a pool of spinning threads. On two cores the pools fight: a 9 ms
text encoding has been seen to take 480 ms while llama.cpp's threads spun for as long as they like. But threads that
fall asleep at once take longer to wake than most of a small model's products take: plans have been seen to
take twice as long. So the pools spin for a fraction of a millisecond, then sleep (``GOMP_SPINCOUNT``), and
their sizes come from here and nowhere else.
"""

from __future__ import annotations

import os
from functools import cache


def cores() -> int:
    """Cores this process may use (its affinity, not the machine's count)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def llm_threads() -> int:
    """Threads for llama.cpp. ``LLM4REC_THREADS`` overrides; more than 8 rarely helps a small model."""
    return int(os.environ.get("LLM4REC_THREADS", 0)) or min(cores(), 8)


def encoder_threads() -> int:
    """Threads for torch. One short text does not fill more than two cores."""
    return int(os.environ.get("LLM4REC_THREADS", 0)) or min(cores(), 4)


@cache
def configure() -> None:
    """Set the environment that OpenMP, BLAS and the tokenizers read when they load.

    Must run before torch, numpy's BLAS pools or llama.cpp are used; `llm4rec/__init__.py` calls it.
    Values already in the environment win.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        # Both: the count alone is not heeded where a process has several pools on few cores.
        os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for name, value in {
        "KMP_BLOCKTIME": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "ANONYMIZED_TELEMETRY": "False",  # chromadb
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)
