"""Opening images that nobody vouches for, and making small copies of them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

#: The only formats that are decoded.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000
MAX_BYTES = 50 * 1024 * 1024
#: Longest side over shortest. Encoders scale the shortest side up, so a thread-thin image would become huge.
MAX_RATIO = 100


def open_image(source: Path | bytes) -> Image:
    """Decode an image into RGB, the way up its EXIF data says, transparency on white.

    Of an animation, the first frame. Size and format are checked before a pixel is decoded.

    Args:
        source: a file, or a file's content.

    Raises:
        UserError: it is missing, no image of `FORMATS`, damaged, or larger than the bounds above.
    """
    name, data = ("image", source) if isinstance(source, bytes) else (str(source), read_image_file(source))
    if len(data) > MAX_BYTES:
        raise UserError(f"{name}: {len(data) / 2**20:.0f} MB is too large, at most {MAX_BYTES // 2**20} MB are read")
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow only warns of some sizes that are refused below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UserError(f"{name}: not an image that can be read (formats: {', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name}: over {MAX_PIXELS // 10**6} megapixels; make it smaller") from None
    except Exception as error:  # decoders raise many kinds on hostile bytes
        raise UserError(f"{name}: not an image that can be read ({error})") from error
    with image:
        _check_size(name, image.size)
        try:
            return _to_rgb(image)
        except Exception as error:  # decoders raise many kinds on hostile bytes
            raise UserError(f"{name}: damaged or cut short ({error})") from error


def read_image_file(path: Path) -> bytes:
    """A file's content, its size checked first.

    Raises:
        UserError: it is missing, no regular file, unreadable, empty, or over `MAX_BYTES`.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            # One byte past the bound: a file that grows while it is read is still noticed.
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not data:
        raise UserError(f"{path}: the file is empty")
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: too large, at most {MAX_BYTES // 2**20} MB are read")
    return data


def contained(folder: Path, name: str) -> Path:
    """The file ``name`` inside ``folder``, which need not exist.

    Raises:
        UserError: the name is empty or leads out of the folder: by ``..``, as an absolute path, with a
            drive, or through a symbolic link.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or ":" in parts[0] or ".." in parts or parts[0] == "":
        raise UserError(f"{name!r} is not a file name inside {folder}")
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve()) and path != folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a lone surrogate
        raise UserError(f"{name!r} is not a file name inside {folder} ({error})") from None
    if not inside:
        raise UserError(f"{name!r} leads out of {folder}")
    return path


def thumbnail_bytes(image: Image, size: int) -> bytes:
    """A JPEG whose longest side is at most ``size`` pixels; smaller images keep their size."""
    from PIL.Image import Resampling

    small = image.convert("RGB")
    small.thumbnail((size, size), Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=88, optimize=True)
    return out.getvalue()


def _check_size(name: str, size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UserError(f"{name}: the image has no pixels")
    if width * height > MAX_PIXELS:
        raise UserError(f"{name}: {width} x {height} is over {MAX_PIXELS // 10**6} megapixels; make it smaller")
    if max(size) > MAX_RATIO * min(size):
        raise UserError(f"{name}: {width} x {height} is too long and thin, at most {MAX_RATIO} to 1")


def _to_rgb(image: Image) -> Image:
    from PIL import Image, ImageOps

    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16") or turned.mode == "I":
        # Sixteen-bit greys: Pillow's own conversion clips instead of scaling.
        turned = turned.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        turned.info.pop("transparency", None)
    if turned.has_transparency_data:
        layered = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return turned.convert("RGB")
