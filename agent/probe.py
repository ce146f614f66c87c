"""Does llama.cpp survive this model on this processor? Asked of a child process, once.

On processors with AMX some builds of llama.cpp crash in the first evaluation when weights are repacked for it
(llama.cpp #20824). A crash cannot be caught, so a child process evaluates a few tokens first: with repacked weights,
which is the fast way, and without them if it dies. What was found is kept in the cache folder, by library, processor
and model.
"""

from __future__ import annotations

import hashlib
import json
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .weights import Notice, cache_folder, fingerprint, write_atomically

#: The child loads the model and evaluates 65 tokens; a big model on a slow disk takes its time.
TIMEOUT = 300.0
CHILD = Path(__file__).with_name("_probe_child.py")

Run = Callable[[Sequence[str], float], int | None]


@dataclass(frozen=True)
class Verdict:
    """What the probe found.

    Attributes:
        extra_buffers: whether repacked weights may be used; None leaves llama.cpp's default (no such switch).
        reason: one line for ``doctor``.
        cached: whether it was known from before.
    """

    extra_buffers: bool | None
    reason: str
    cached: bool = False


def run_child(command: Sequence[str], timeout: float) -> int | None:
    """Exit code of a command (negative: the signal that killed it), or None when the time was over."""
    try:
        return subprocess.run(
            command, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def probe(model: Path, *, cache: Path | None = None, run: Run = run_child, notice: Notice | None = None) -> Verdict:
    """The way in which this model can be evaluated here.

    Args:
        cache: folder for the verdict; the user's cache folder by default.
        run: runs the child (tests put their own here).
        notice: told when the verdict cannot be kept.

    Raises:
        UserError: the model dies either way, or cannot be loaded at all.
    """
    key = machine_key(model)
    kept = (cache or cache_folder()) / "probe" / f"{key}.json"
    known = _read(kept)
    if known is not None:
        return known
    fast = _try(model, True, run)
    if fast == 0:
        return _keep(kept, Verdict(True, "repacked weights work here"), notice)
    if fast == 4:
        return Verdict(None, "this llama-cpp-python has no switch for repacked weights")
    slow = _try(model, False, run)
    if slow == 0:
        verdict = Verdict(False, f"repacked weights are off: with them llama.cpp {_what(fast)}")
        # A timeout may be the machine's mood: it is no lasting verdict.
        return verdict if fast is None else _keep(kept, verdict, notice)
    if slow == 5:
        raise UserError(f"{model}: llama.cpp cannot load this model")
    raise UserError(
        f"{model}: llama.cpp {_what(slow)} in its first evaluation, with and without repacked weights; "
        "use another GGUF file, or build llama-cpp-python again: pip install --force-reinstall --no-cache-dir "
        "--no-binary llama-cpp-python llama-cpp-python"
    )


def machine_key(model: Path) -> str:
    """Names library build, processor and model in 32 hexadecimal digits."""
    import llama_cpp

    described = "\n".join(
        (llama_cpp.__version__, llama_cpp.llama_print_system_info().decode(), processor(), fingerprint(model))
    )
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def processor() -> str:
    """Model and flags of the processor as the system tells them."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(errors="replace").splitlines() if known.exists() else []
    wanted = {line for line in lines if line.split("\t")[0].strip() in ("model name", "flags", "Features")}
    return "\n".join(sorted(wanted)) or f"{platform.machine()} {platform.processor()}"


def _try(model: Path, extra: bool, run: Run) -> int | None:
    # -I: nothing in the working directory may shadow a module of the standard library.
    return run([sys.executable, "-I", str(CHILD), str(model), "1" if extra else "0"], TIMEOUT)


def _what(code: int | None) -> str:
    if code is None:
        return f"did not answer within {TIMEOUT:.0f} s"
    if code == 3:
        return "computes nonsense"
    if code < 0:
        names = {s.value: s.name for s in signal.Signals}
        return f"dies ({names.get(-code, f'signal {-code}')})"
    return f"fails (exit code {code})"


def _read(kept: Path) -> Verdict | None:
    """A kept verdict; a file that cannot be read as one counts as none, and the probe runs again."""
    try:
        record = json.loads(kept.read_text())
        if type(record["extra_buffers"]) is bool and isinstance(record["reason"], str):
            return Verdict(record["extra_buffers"], record["reason"], cached=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _keep(kept: Path, verdict: Verdict, notice: Notice | None) -> Verdict:
    record = {"extra_buffers": verdict.extra_buffers, "reason": verdict.reason}
    try:
        write_atomically(kept, json.dumps(record).encode())
    except OSError as error:
        if notice is not None:
            notice(f"cannot keep what the probe of llama.cpp found ({error}): it runs again next time")
    return verdict
