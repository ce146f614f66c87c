"""Opening untrusted images."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog import images
from llm4rec.catalog.images import contained, open_image, thumbnail_bytes
from llm4rec.errors import UserError
from PIL import Image

SIZE = (40, 30)


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_formats_open_as_rgb(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"  # the content decides, not the name's ending
    path.write_bytes(encoded(picture(), kind))
    for source in (path, path.read_bytes()):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", SIZE)
        left, right = np.asarray(image)[15, 5], np.asarray(image)[15, 35]
        assert left[0] > 180 > 60 > left[2]
        assert right[2] > 180 > 60 > right[0]


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match="not an image"):
        open_image(encoded(picture(), kind))


@pytest.mark.parametrize("size", [(30_000, 30_000), (12_000, 10_000), (6_400, 6_400)])
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(UserError, match="40 megapixels"):
        open_image(png_header(*size))


def test_forty_megapixels_pass_the_size_check() -> None:
    with pytest.raises(UserError, match="damaged or cut short"):  # the size is right, the pixels are missing
        open_image(png_header(8_000, 5_000))


def test_thin_images_are_refused() -> None:
    assert open_image(encoded(picture(size=(100, 1)), "PNG")).size == (100, 1)
    with pytest.raises(UserError, match="too long and thin"):
        open_image(encoded(picture(size=(101, 1)), "PNG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_truncated_files_are_refused_and_named(kind: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut\.img"):
        open_image(path)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0", b"\0" * 100]
)
def test_non_images_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "thing.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"thing\.jpg"):
        open_image(path)
    with pytest.raises(UserError):
        open_image(data)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.png", tmp_path / ("x" * 5000)):
        with pytest.raises(UserError):
            open_image(path)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(UserError, match="not a file"):
        open_image(tmp_path / "pipe")


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(), "PNG")
    monkeypatch.setattr(images, "MAX_BYTES", len(data) - 1)
    path = tmp_path / "large.png"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(UserError, match="too large"):
            open_image(source)
    monkeypatch.setattr(images, "MAX_BYTES", len(data))
    assert open_image(path).size == SIZE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = picture()
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if undo is None else upright.transpose(undo)
    opened = open_image(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(np.asarray(opened), np.asarray(upright))


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    assert np.all(np.asarray(open_image(encoded(clear, "PNG"))) == 255)
    palette = Image.new("P", SIZE, 0)
    assert np.all(np.asarray(open_image(encoded(palette, "GIF", transparency=0))) == 255)


def test_sixteen_bit_grey_is_scaled() -> None:
    grey = Image.fromarray(np.full((30, 40), 128 * 257, dtype=np.uint16))
    assert np.all(np.asarray(open_image(encoded(grey, "PNG"))) == 128)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", SIZE, "red"), Image.new("RGB", SIZE, "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        pixel = np.asarray(open_image(data))[10, 10]
        assert pixel[0] > 200, kind
        assert pixel[2] < 50, kind


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_an_image_or_a_clear_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(images.FORMATS))
    content = bytearray(encoded(picture(size=(16, 12)), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with contextlib.suppress(UserError):  # any other error fails the test
        assert open_image(bytes(content)).mode == "RGB"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/..",
        "C:\\x",
        "C:x",
        "\\\\host\\x",
        "..\\x",
        "a\0b",
        "link/x",
        "link",
    ],
)
def test_names_that_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError):
        contained(folder, name)


def test_contained_names(tmp_path: Path) -> None:
    (tmp_path / "inside").symlink_to(tmp_path / "a.jpg")
    for name in ("a.jpg", "deep/b.jpg", "..a", "ünïcode.png", "inside"):
        assert contained(tmp_path, name).is_relative_to(tmp_path.resolve())
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with contextlib.suppress(UserError):  # any other error fails the test
        assert contained(tmp_path, "loop").is_relative_to(tmp_path.resolve())


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_contained_never_escapes(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        path = contained(folder, name)
    except UserError:
        return
    assert folder.resolve() in path.parents


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
def test_thumbnails_fit_and_keep_the_shape(width: int, height: int, size: int) -> None:
    data = thumbnail_bytes(picture(size=(width, height)), size)
    small = Image.open(io.BytesIO(data))
    assert small.format == "JPEG"
    assert max(small.size) == min(size, max(width, height))
    shrink = max(small.size) / max(width, height)
    assert min(small.size) == pytest.approx(max(1, min(width, height) * shrink), abs=1)


def test_thumbnail_leaves_the_image_alone() -> None:
    image = picture("RGBA")
    thumbnail_bytes(image, 8)
    assert (image.mode, image.size) == ("RGBA", SIZE)
