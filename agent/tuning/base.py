"""The model that is tuned, read from its GGUF file by transformers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...catalog.weights import first_line, quiet_loading
from ...errors import MissingExtra, UserError
from .. import _gguf

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: The architecture whose layers, and whose order of rows in q and k, are known here.
ARCHITECTURE = "llama"
#: What tuning needs beside what this package needs anyway.
PACKAGES = ("gguf", "peft", "transformers")


def require_llama(path: Path) -> _gguf.Header:
    """The header of a model that can be tuned.

    Raises:
        UserError: there is no such file, it is no GGUF, or it is a model of another architecture.
    """
    header = _gguf.read_header(path)
    kind = header.values.get("general.type", "model")
    if kind != "model" or header.architecture != ARCHITECTURE:
        raise UserError(
            f"{path}: is of the type {kind} and the architecture {header.architecture}; only a model of the "
            f"architecture {ARCHITECTURE} can be tuned"
        )
    return header


def require_packages() -> None:
    """That all packages for tuning are there: seen before anything takes long.

    Raises:
        MissingExtra: one is not installed.
    """
    try:
        for name in PACKAGES:
            import_module(name)
    except ImportError:
        raise MissingExtra("tuning a model", "tune") from None


def read_base(path: Path, *, precision: Literal["float32", "bfloat16"] = "float32") -> PreTrainedModel:
    """Read a model from a GGUF file, its weights decoded. Asks no server for anything. Takes half a minute.

    Args:
        path: a GGUF file of the architecture llama, in any quantization that transformers decodes.
        precision: of the weights in memory; bfloat16 keeps 8 bits of each.

    Raises:
        UserError: the file is not such a model, or is damaged.
        MissingExtra: torch's companions for tuning are not installed.
    """
    require_llama(path)
    require_packages()  # transformers reads the file by gguf, and says so at length when it is missing
    import torch
    from transformers import AutoModelForCausalLM

    folder, name = str(path.absolute().parent), path.name
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    with quiet_loading():
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=name, dtype=dtype, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{path}: transformers cannot read this model: {first_line(error)}") from error
    return model  # type: ignore[no-any-return]
