"""How much memory this process has held at most."""

from __future__ import annotations

import sys
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak() -> bool:
    """Begin counting anew. False where the system has no way to: the peak then is that of the whole process."""
    try:
        _CLEAR.write_text("5", encoding="ascii")  # Linux: "5" resets the peak resident set size
    except OSError:
        return False
    return True


def peak_mb() -> float | None:
    """Peak resident memory since :func:`reset_peak`, in MB (1e6 bytes); None where it is not known."""
    try:
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
