"""The header of a GGUF file, read without llama.cpp: what it is, what it is not, and where its tensors lie."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
#: llama.cpp's file types by number (``enum llama_ftype``).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
#: More entries, and more tensors, than any honest header holds.
_MOST_ENTRIES = 100_000
#: Tensors have at most so many axes (``GGML_MAX_DIMS``).
_MOST_AXES = 4
#: Where nothing else is said, tensors begin at a multiple of so many bytes.
_ALIGNMENT = 32


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in its file.

    Attributes:
        shape: as numpy has it: a matrix is (outputs, inputs).
        kind: number of its type in ``enum ggml_type``.
        offset: of its first byte, from the beginning of the file.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself. Lists (the vocabulary) are skipped."""

    version: int
    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def quantization(self) -> str:
        number = self.values.get("general.file_type")
        return "unknown" if number is None else _FILE_TYPES.get(number, f"file type {number}")

    @property
    def has_template(self) -> bool:
        return "tokenizer.chat_template" in self.values


def read_header(path: Path) -> Header:
    """Read the header of a GGUF file.

    Raises:
        UserError: there is no such file, or it is no GGUF of version 2 or 3, or its header is broken.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise _Broken("is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(content).header()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a GGUF file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except _Broken as broken:
        raise UserError(f"{path}: {broken}") from None


class _Broken(Exception):
    pass


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._size, self._at = content, len(content), 0

    def header(self) -> Header:
        if self._content[:4] != b"GGUF":
            raise _Broken("is no GGUF file (it does not begin with 'GGUF')")
        self._at = 4
        version = self._number("<I")
        if version not in (2, 3):
            big_endian = int(version).to_bytes(4, "little") in (b"\0\0\0\2", b"\0\0\0\3")
            more = ", written for big-endian machines" if big_endian else ""
            raise _Broken(f"is GGUF version {version}{more}; versions 2 and 3 can be read")
        tensors, entries = self._number("<Q"), self._number("<Q")
        if entries > _MOST_ENTRIES:
            raise _Broken(f"is a broken GGUF file ({entries} header entries)")
        if tensors > _MOST_ENTRIES:
            raise _Broken(f"is a broken GGUF file ({tensors} tensors)")
        values: dict[str, Any] = {}
        for _ in range(entries):
            key = self._string()
            kind = self._number("<I")
            if kind == _ARRAY:
                self._skip_array()
            else:
                values[key] = self._string() if kind == _STRING else self._number(self._format(kind))
        return Header(version, values, self._tensors(tensors, values.get("general.alignment", _ALIGNMENT)))

    def _tensors(self, count: int, alignment: Any) -> dict[str, Tensor]:
        if not isinstance(alignment, int) or alignment < 1:
            raise _Broken(f"is a broken GGUF file (alignment {alignment})")
        found = []
        for _ in range(count):
            name, axes = self._string(), self._number("<I")
            if axes > _MOST_AXES:
                raise _Broken(f"is a broken GGUF file (a tensor of {axes} axes)")
            shape = tuple(self._number("<Q") for _ in range(axes))[::-1]
            found.append((name, shape, self._number("<I"), self._number("<Q")))
        start = -(-self._at // alignment) * alignment
        return {name: Tensor(shape, kind, start + offset) for name, shape, kind, offset in found}

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise _Broken(f"is a broken GGUF file (value type {kind})")
        return _SCALARS[kind]

    def _skip(self, size: int) -> int:
        """Move on; returns where the skipped part began."""
        start = self._at
        if size > self._size - start:
            raise _Broken("is cut off in its header")
        self._at = start + size
        return start

    def _number(self, form: str) -> Any:
        return struct.unpack_from(form, self._content, self._skip(struct.calcsize(form)))[0]

    def _string(self) -> str:
        start = self._skip(self._number("<Q"))
        return self._content[start : self._at].decode("utf-8", errors="replace")

    def _skip_array(self) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._number("<Q"))
        else:
            self._skip(count * struct.calcsize(self._format(kind)))
