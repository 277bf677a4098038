"""Damaged and hostile image files: each ends in an image or in one line, through every kind of
field and `prepare`.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import check_error, damage, limited
from PIL import Image

from gantrain.data.decode import decode
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.pack import prepare

CASES = 400
QUICK = 40
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM", "GIF")


def saved(mode: str, image_format: str, chance: random.Random) -> bytes | None:
    """An image of that mode as a file of that format, or nothing where the format does not hold
    the mode.
    """
    size = (chance.randint(16, 40), chance.randint(16, 40))
    values = np.frombuffer(chance.randbytes(size[0] * size[1] * 4), np.uint8).reshape(
        size[1], size[0], 4
    )
    image = (
        Image.fromarray(values, "RGBA")
        if mode == "RGBA"
        else Image.fromarray(values[..., :3].copy()).convert("L")
    )
    if mode not in ("L", "RGBA"):
        image = Image.fromarray(values[..., :3].copy()) if mode in ("RGB", "CMYK", "P") else image
        image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    stream = io.BytesIO()
    options: dict[str, Any] = {}
    if chance.random() < 0.3:
        options["icc_profile"] = chance.randbytes(200)
    if chance.random() < 0.3 and image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[0x0112] = chance.randint(0, 12)
        options["exif"] = exif
    try:
        image.save(stream, image_format, **options)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stream.getvalue()


def npy(chance: random.Random) -> bytes:
    """A `.npy` file whose header may lie."""
    dtype = chance.choice(["|u1", "<u2", "<f4", "<f8", "<i8", "|b1", "<c8", "|O", "<U4", "<M8[s]"])
    shape = chance.choice(
        ["(4, 4)", "(16, 16, 3)", "(16, 16)", "(0, 4)", "(9999999999, 9999999999)", "(-1, 4)", "()"]
    )
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    padded = header.ljust(117) + "\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(padded))
        + padded.encode()
        + chance.randbytes(16 * 16 * 8)
    )


def bomb(chance: random.Random) -> bytes:
    """A PNG of a few bytes that claims a huge picture."""
    width, height = chance.choice(
        [(60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 5), (16, 100_000)]
    )

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(
        ">IIBBBBB", width, height, chance.choice([1, 8, 16]), chance.choice([0, 2, 3, 6]), 0, 0, 0
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def draw(number: int) -> bytes:
    """Return the bytes of case `number`."""
    chance = random.Random(number)
    made: Callable[[random.Random], bytes] | None = {0: npy, 1: bomb}.get(number % 10)
    if made:
        content = made(chance)
        return damage(content, chance) if chance.random() < 0.3 else content
    content = None
    while content is None:
        content = saved(chance.choice(MODES), chance.choice(FORMATS), chance)
    return damage(content, chance) if chance.random() < 0.8 else content


def try_decoding(numbers: range) -> None:
    outcomes = {"decoded": 0, "refused": 0}
    for number in numbers:
        content = draw(number)
        for kind in KINDS:
            case = f"image {number} as {kind}"
            with limited(case):
                try:
                    array = decode(content, kind)
                except Exception as error:
                    check_error(case, error)
                    outcomes["refused"] += 1
                else:
                    assert array.ndim == 3, case
                    assert array.size > 0, case
                    assert array.dtype in (np.uint8, np.uint16, np.float32), case
                    outcomes["decoded"] += 1
    assert min(outcomes.values()) > len(numbers) // 4, outcomes  # both ways are reached


def test_damaged_images_are_refused_in_a_line() -> None:
    try_decoding(range(QUICK))


@pytest.mark.exhaustive
def test_many_damaged_images_are_refused_in_a_line() -> None:
    try_decoding(range(QUICK, CASES))


@pytest.mark.exhaustive
def test_damaged_images_are_left_out_of_a_data_set(tmp_path: Path) -> None:
    """`prepare` packs what is whole, and names each file that it leaves out."""
    source = tmp_path / "images"
    source.mkdir()
    chance = random.Random(0)
    for number in range(CASES):
        ending = chance.choice(["png", "jpg", "tif", "webp", "npy", "bmp", "gif"])
        (source / f"{number:03d}.{ending}").write_bytes(draw(number))
    with limited("prepare"):
        try:
            report = prepare(source, tmp_path / "packed", layout="images", max_left_out=1.0)
        except Exception as error:
            check_error("prepare", error)
            raise
    assert 0 < report.samples < CASES
    assert report.samples + len(report.unreadable) == CASES
    for line in report.lines(None):
        assert "\n" not in line
