"""What image files and arrays hold arrives unchanged, or is converted as documented."""

import io
import multiprocessing
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from gantrain.data import channels, icc
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import decode, to_array
from gantrain.data.formats.format_table import extensions
from gantrain.data.formats.pillow_formats import PILLOW_NAMES
from gantrain.data.kinds.kind import NotLabels
from gantrain.data.kinds.table import KINDS
from gantrain.data.transforms import SampleTransform

IDS = np.arange(12, dtype=np.uint8)  # class ids of one row


# -- files that Pillow cannot write ------------------------------------------------------------


def pack(values, bits: int) -> bytes:
    """One row of values of so many bits, filled up to whole bytes."""
    text = "".join(format(value, f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(
    values, bits: int, *, colour_type: int = 0, palette: bytes = b"", key: int | None = None
) -> bytes:
    """Two equal rows as a PNG of any depth: colour type 0 is grey, 3 has a palette."""
    header = struct.pack(">IIBBBBB", len(values), 2, bits, colour_type, 0, 0, 0)
    row = b"\0" + pack(values, bits)
    chunks = [png_chunk(b"IHDR", header)]
    if palette:
        chunks.append(png_chunk(b"PLTE", palette))
    if key is not None:
        chunks.append(png_chunk(b"tRNS", struct.pack(">H", key)))
    chunks += [png_chunk(b"IDAT", zlib.compress(row * 2)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(
    pixels: bytes,
    width: int,
    bits: int,
    *,
    photometric: int = 1,
    sample_format: int = 1,
    palette=(),
) -> bytes:
    """Two rows as an uncompressed TIFF; photometric 0 is MinIsWhite, 1 MinIsBlack, 3 a palette."""
    tags = {256: width, 257: 2, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 2}
    tags |= {279: len(pixels), 339: sample_format}
    colours = struct.pack(f"<{len(palette)}H", *palette)
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    if palette:
        entries[320] = struct.pack("<HHII", 320, 3, len(palette), 8 + len(pixels))
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    start = 8 + len(pixels) + len(colours)
    return (
        struct.pack("<2sHI", b"II", 42, start) + pixels + colours + directory + struct.pack("<I", 0)
    )


def bmp(values, bits: int, palette) -> bytes:
    """Two equal rows as a BMP with a palette."""
    row = pack(values, bits)
    rows = (row + b"\0" * (-len(row) % 4)) * 2
    colours = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    start = 14 + 40 + len(colours)
    header = struct.pack(
        "<IiiHHIIiiII", 40, len(values), 2, 1, bits, 0, len(rows), 0, 0, len(palette), 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colours + rows


def pnm(magic: str, values, maximum: int) -> bytes:
    """Two equal rows as a plain (P2) or binary (P5) PGM."""
    header = f"{magic} # a comment\n{len(values)} 2\n{maximum}\n".encode()
    if magic == "P2":
        return header + " ".join(map(str, [*values, *values])).encode()
    form = "B" if maximum < 256 else "H"
    return header + struct.pack(f">{len(values)}{form}", *values) * 2


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def indexed(values) -> Image.Image:
    image = Image.new("P", (len(values), 2))
    image.putdata([int(value) for value in [*values, *values]])
    image.putpalette([component for i in range(16) for component in (i * 15, 255 - i * 15, i * 7)])
    return image


COLOURS = [(i * 15, 255 - i * 15, i * 7) for i in range(16)]
TIFF_PALETTE = [257 * colour[band] for band in range(3) for colour in COLOURS]


# -- class ids ---------------------------------------------------------------------------------

STORED_IDS = {
    "png grey 1 bit": (png([0, 1, 1], 1), [0, 1, 1]),
    "png grey 2 bits": (png([0, 1, 2, 3], 2), [0, 1, 2, 3]),
    "png grey 4 bits": (png(IDS, 4), IDS),
    "png grey 8 bits": (png(IDS, 8), IDS),
    "png grey 16 bits": (png([0, 11, 4095], 16), [0, 11, 4095]),
    "png grey 4 bits with a transparent value": (png(IDS, 4, key=3), IDS),
    "png palette 2 bits": (png([3, 2, 1], 2, colour_type=3, palette=bytes(12)), [3, 2, 1]),
    "png palette 4 bits": (png(IDS, 4, colour_type=3, palette=bytes(48)), IDS),
    "tiff grey 1 bit": (tiff(pack([0, 1, 1], 1) * 2, 3, 1), [0, 1, 1]),
    "tiff grey 1 bit, 0 is white": (tiff(pack([1, 0, 0], 1) * 2, 3, 1, photometric=0), [0, 1, 1]),
    "tiff grey 2 bits": (tiff(pack([0, 1, 2, 3], 2) * 2, 4, 2), [0, 1, 2, 3]),
    "tiff grey 4 bits": (tiff(pack(IDS, 4) * 2, 12, 4), IDS),
    "tiff grey 8 bits": (tiff(bytes(IDS) * 2, 12, 8), IDS),
    "tiff grey 12 bits": (tiff(pack([291, 1110], 12) * 2, 2, 12), [291, 1110]),
    "tiff 16 signed bits": (
        tiff(struct.pack("<4h", 5, 300, 5, 300), 2, 16, sample_format=2),
        [5, 300],
    ),
    "tiff palette 4 bits": (
        tiff(pack(IDS, 4) * 2, 12, 4, photometric=3, palette=TIFF_PALETTE),
        IDS,
    ),
    "bmp palette 1 bit": (bmp([0, 1, 1], 1, [(255, 0, 0), (0, 255, 0)]), [0, 1, 1]),
    "bmp palette 4 bits": (bmp(IDS, 4, COLOURS), IDS),
    "bmp palette 8 bits": (bmp(IDS, 8, COLOURS), IDS),
    "gif": (saved(indexed(IDS), "GIF"), IDS),
    "gif with a transparent index": (saved(indexed(IDS), "GIF", transparency=3), IDS),
    "pgm to 11": (pnm("P5", IDS, 11), IDS),
    "pgm to 100": (pnm("P5", [0, 1, 99, 100], 100), [0, 1, 99, 100]),
    "pgm to 255": (pnm("P5", IDS, 255), IDS),
    "pgm to 4095": (pnm("P5", [0, 1, 2, 4095], 4095), [0, 1, 2, 4095]),
    "pgm to 65535": (pnm("P5", [0, 1, 65535], 65535), [0, 1, 65535]),
    "plain pgm to 11": (pnm("P2", IDS, 11), IDS),
    "plain pgm to 4095": (pnm("P2", [0, 1, 4095], 4095), [0, 1, 4095]),
    "npy of truth values": (npy(np.array([[False, True]] * 2)), [0, 1]),
    "npy of another byte order": (npy(np.array([[0, 300]] * 2, ">u2")), [0, 300]),
}


@pytest.mark.parametrize("name", STORED_IDS)
def test_ids_arrive_as_they_are_stored(name):
    data, ids = STORED_IDS[name]
    for kind in ("label", "instances"):
        found = decode(data, kind)
        assert found.dtype in (np.uint8, np.uint16)
        np.testing.assert_array_equal(found[..., 0], [ids, ids])
    if not data.startswith(b"\x93NUMPY"):  # an image that Python code has opened
        np.testing.assert_array_equal(to_array(Image.open(io.BytesIO(data)), "label")[0, :, 0], ids)


def test_every_scale_of_pgm_is_undone():
    for maximum in range(1, 256):
        ids = list(range(maximum + 1))
        np.testing.assert_array_equal(decode(pnm("P5", ids, maximum), "label")[0, :, 0], ids)
    for maximum in (256, 1000, 4095, 32768, 65534):
        ids = np.linspace(0, maximum, 2000).round().astype(int)
        np.testing.assert_array_equal(decode(pnm("P5", ids, maximum), "label")[0, :, 0], ids)


def webp(**options) -> bytes:
    return saved(Image.new("RGBA", (16, 16), (9, 9, 9, 9)), "WEBP", **options)


NOT_IDS = {
    "jpeg": (saved(Image.new("L", (9, 9)), "JPEG"), "a JPEG where class ids are expected"),
    "lossy webp": (webp(), "a lossy WebP where class ids are expected"),
    "lossless webp": (webp(lossless=True), "RGBA where class ids are expected"),
    "jpeg in tiff": (
        saved(Image.new("L", (16, 16)), "TIFF", compression="jpeg"),
        "TIFF with JPEG compression",
    ),
    "floats": (npy(np.zeros((9, 9))), "1-channel float64 where class ids are expected"),
}


@pytest.mark.parametrize("name", NOT_IDS)
def test_files_that_cannot_hold_ids_are_refused(name):
    data, says = NOT_IDS[name]
    with pytest.raises(NotLabels, match=says):
        decode(data, "label")


TWO_WAYS = "values can be meant in two ways"
CHANGED = {
    "16-bit values that do not fit": (
        npy(np.full((9, 9), 70000)),
        "label",
        r"values 70000\.\.70000, at most 0\.\.65535",
    ),
    "negative ids": (
        tiff(struct.pack("<4h", -1, 3, -1, 3), 2, 16, sample_format=2),
        "label",
        r"values -1\.\.3",
    ),
    "a deep image": (
        tiff(struct.pack("<4i", 70000, 3, 0, 0), 2, 32, sample_format=2),
        "image",
        r"values 0\.\.70000",
    ),
    "unsigned 32 bits": (
        tiff(struct.pack("<4I", 4000000000, 3, 0, 0), 2, 32),
        "image",
        r"values 0\.\.4000000000",
    ),
    "signed 8 bits": (
        tiff(struct.pack("<4b", -1, 5, -1, 5), 2, 8, sample_format=2),
        "image",
        "signed values of 8 bits",
    ),
    "ids where 0 is white": (tiff(bytes(IDS) * 2, 12, 8, photometric=0), "label", TWO_WAYS),
    "16 bits where 0 is white": (tiff(bytes(8), 2, 16, photometric=0), "image", TWO_WAYS),
    "wide colours": (
        b"P6 1 1 1000\n" + struct.pack(">3H", 0, 1, 1000),
        "image",
        "3 channels with 16 bits",
    ),
    "integers for an image": (
        npy(np.full((9, 9), 7)),
        "image",
        r"its values 7\.\.7 fit into uint8: give array\.astype",
    ),
    "wider integers": (
        npy(np.full((9, 9), 700)),
        "image",
        r"700\.\.700 fit into uint16: give array\.astype\('uint16'\)",
    ),
    "integers that do not fit": (
        npy(np.full((9, 9), -70000)),
        "image",
        r"values -70000\.\.-70000 fit into none",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_would_arrive_changed_is_refused_in_one_line(name):
    data, kind, says = CHANGED[name]
    with pytest.raises(ValueError, match=says) as caught:
        decode(data, kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["I", "I;16", "F", "L"])
def test_arrays_and_pictures_of_wrong_values_are_refused(mode):
    values = {"I": 70000, "I;16": 65535, "F": np.nan, "L": 255}[mode]
    image = Image.new(mode, (4, 4), values)
    if mode in ("I;16", "L"):
        assert to_array(image).max() == values
        return
    with pytest.raises(ValueError, match=r"at most 0\.\.65535|NaN"):
        to_array(image)


# -- images ------------------------------------------------------------------------------------

INTENSITIES = {
    "png grey 2 bits": (png([0, 1, 2, 3], 2), [0, 85, 170, 255]),
    "png grey 4 bits": (png([0, 1, 15], 4), [0, 17, 255]),
    "tiff grey 4 bits": (tiff(pack([0, 1, 15], 4) * 2, 3, 4), [0, 17, 255]),
    "tiff grey 8 bits, 0 is white": (
        tiff(bytes([0, 1, 255]) * 2, 3, 8, photometric=0),
        [255, 254, 0],
    ),
    "pgm to 3": (pnm("P5", [0, 1, 3], 3), [0, 85, 255]),
    "pgm to 4095": (pnm("P5", [0, 4095], 4095), [0, 65535]),
    "png grey 16 bits with a transparent value": (png([0, 1, 70], 16, key=1), [0, 1, 70]),
    "truth values": (npy(np.array([[False, True]] * 2)), [0, 255]),
}


@pytest.mark.parametrize("name", INTENSITIES)
def test_intensities_are_scaled_to_the_depth(name):
    data, values = INTENSITIES[name]
    np.testing.assert_array_equal(decode(data)[..., 0], [values, values])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_becomes_alpha_at_every_depth(bits):
    values = list(range(2**bits)) if bits < 8 else list(IDS)
    found = decode(png(values, bits, key=1))
    np.testing.assert_array_equal(found[0, :, 1], [0 if value == 1 else 255 for value in values])
    assert decode(png([0, 0], bits, key=1)).shape[2] == 1, "no pixel is transparent"


def test_formats_are_told_by_their_bytes():
    array = np.random.default_rng(0).integers(0, 256, (16, 18, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    for form in ("BMP", "PPM", "PNG", "TIFF"):
        np.testing.assert_array_equal(decode(saved(image, form)), array)
    assert set(PILLOW_NAMES) == {"JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF"}
    assert {"bmp", "ppm", "pgm", "pbm", "pnm", "gif", "jfif", "tif"} <= set(extensions())


def test_the_first_frame_of_a_gif_is_taken_and_reported():
    frames = [indexed(IDS), indexed(IDS[::-1])]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    notes = []
    np.testing.assert_array_equal(decode(data, "label", notes=notes)[0, :, 0], IDS)
    assert summarise(notes) == ["1 file with several frames: the first one is read"]
    for form in ("TIFF", "WEBP", "PNG"):
        several = [Image.new("RGB", (16, 16), value) for value in ("red", "blue")]
        with pytest.raises(ValueError, match="several images"):
            decode(saved(several[0], form, save_all=True, append_images=several[1:]))


def test_the_picture_of_a_user_is_not_changed():
    image = Image.open(io.BytesIO(png(IDS, 4, key=3)))
    before = dict(image.info)
    to_array(image)
    assert image.info == before
    assert image.mode == "L"


# -- channels ----------------------------------------------------------------------------------


def bands(count):
    return np.random.default_rng(count).integers(0, 256, (5, 7, count), dtype=np.uint8)


def over_white(array):
    colours = array[..., :-1].astype(float)
    opacity = array[..., -1:] / 255
    return colours * opacity + 255 * (1 - opacity)


def luma(array):
    return np.asarray(Image.fromarray(array).convert("L"))[..., None]


def opaque(array):
    return np.concatenate([array, np.full((*array.shape[:2], 1), 255, np.uint8)], axis=2)


FITTED = {
    (1, 2): opaque,
    (1, 3): lambda a: np.repeat(a, 3, axis=2),
    (1, 4): lambda a: opaque(np.repeat(a, 3, axis=2)),
    (2, 1): over_white,
    (2, 3): lambda a: np.repeat(over_white(a), 3, axis=2),
    (2, 4): lambda a: a[..., [0, 0, 0, 1]],
    (3, 1): luma,
    (3, 2): lambda a: opaque(luma(a)),
    (3, 4): opaque,
    (4, 1): lambda a: luma(over_white(a).round().astype(np.uint8)),
    (4, 2): lambda a: np.concatenate([luma(a[..., :3]), a[..., 3:]], axis=2),
    (4, 3): over_white,
}


@pytest.mark.parametrize(("found", "wanted"), FITTED)
def test_channels_are_converted(found, wanted):
    array = bands(found)
    fitted = KINDS["image"].fit(array, (wanted, "uint8"))
    assert fitted.dtype == np.uint8
    assert fitted.shape == (5, 7, wanted)
    assert np.abs(fitted - FITTED[found, wanted](array).astype(float)).max() <= 0.5
    assert KINDS["image"].can_fit((found, "uint8"), (wanted, "uint8"))
    assert "{files} in " in channels.note(found, wanted)


def test_opaque_pixels_keep_their_values():
    array = bands(3)
    np.testing.assert_array_equal(KINDS["image"].fit(opaque(array), (3, "uint8")), array)


@pytest.mark.parametrize(
    ("shape", "dtype", "wanted", "kind"),
    [
        ((5, 7, 5), "uint8", (3, "uint8"), "image"),
        ((5, 7, 3), "uint8", (5, "uint8"), "image"),
        ((5, 7, 1), "uint16", (3, "uint16"), "image"),
        ((5, 7, 1), "uint8", (1, "uint16"), "image"),
        ((5, 7, 4), "float32", (3, "float32"), "image"),
        ((5, 7, 3), "uint8", (1, "uint8"), "label"),
    ],
)
def test_other_conversions_are_left_alone(shape, dtype, wanted, kind):
    array = np.ones(shape, dtype)
    assert KINDS[kind].fit(array, wanted) is array
    assert not KINDS[kind].can_fit((shape[2], dtype), wanted)


def test_ids_change_their_dtype_where_they_fit():
    few = np.full((2, 2, 1), 255, np.uint16)
    many = np.full((2, 2, 1), 256, np.uint16)
    assert KINDS["label"].fit(few, (1, "uint8")).dtype == np.uint8
    assert KINDS["label"].fit(many, (1, "uint8")) is many
    assert KINDS["label"].fit(few.astype(np.uint8), (1, "uint16")).dtype == np.uint16


@pytest.mark.parametrize("count", [2, 4])
def test_jitter_leaves_alpha_alone(count):
    top = 255
    image = np.full((32, 32, count), 0.5 * top, np.uint8)
    image[..., -1] = top
    image[8:16, 8:16, -1] = 0
    image[16:, :, :-1] = 0.25 * top
    view = SampleTransform({"s": KINDS["image"]}, (32, 32), None, color_jitter=0.3)
    for seed in range(3):
        found = view.augment({"s": image}, np.random.default_rng(seed))["s"]
        np.testing.assert_array_equal(found[..., -1], image[..., -1])
        # The colours alone decide the mean: they change as they would without alpha.
        without = np.repeat(image[..., :1], 3, axis=2)
        expected = view.augment({"s": without}, np.random.default_rng(seed))["s"]
        np.testing.assert_allclose(found[..., 0].astype(float), expected[..., 0], atol=1)
        assert not np.array_equal(found[..., 0], image[..., 0])


# -- colour profiles ---------------------------------------------------------------------------


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def point(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(x) + fixed(y) + fixed(z)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """A small profile of version 2, between a space and XYZ or Lab."""
    name = b"drawn"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(1 + 8 + 3 + 67)
    tags = {b"desc": description, b"wtpt": point(0.9642, 1, 0.8249), **tags}
    content = b""
    table = b""
    for tag, value in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(content), len(value))
        content += value
    size = 132 + len(table) + len(content)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x", size, b"test", 0x02400000, b"mntr", space, connection, b"acsp"
    )
    head += fixed(0.9642) + fixed(1) + fixed(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def rgb_profile(red, green, blue, exponent: float) -> bytes:
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))
    primaries = {b"rXYZ": point(*red), b"gXYZ": point(*green), b"bXYZ": point(*blue)}
    return profile(b"RGB ", primaries | curves)


# The primaries of Adobe RGB (1998), adapted to D50, and those of sRGB in another order.
WIDE = rgb_profile(
    (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457), 2.2
)
SWAPPED = rgb_profile(
    (0.14307, 0.06061, 0.7141), (0.38515, 0.71687, 0.09708), (0.43607, 0.22249, 0.01392), 2.2
)
GREY = profile(b"GRAY", {b"kTRC": gamma(1.8)})


def cmyk_profile() -> bytes:
    """Inks by a table: full black gives L* 0, each other full ink takes 20 of L*, and all are
    neutral.
    """
    table = []
    for corner in range(16):
        inks, black = bin(corner >> 1).count("1"), corner & 1
        table += [0 if black else round(255 * (1 - 0.2 * inks)), 128, 128]
    ramp = bytes(range(256))
    identity = b"".join(fixed(float(i == j)) for i in range(3) for j in range(3))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(table) + ramp * 3
    return profile(b"CMYK", {b"A2B0": lut}, b"Lab ")


CMYK = cmyk_profile()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CONVERTED = "1 file with a colour profile: converted to sRGB"
UNUSABLE = "1 file with a colour profile that cannot be used: read without it"


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("JPEG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_colours_are_converted_to_srgb(form, options):
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    notes = []
    found = decode(saved(red, form, icc_profile=SWAPPED, **options), notes=notes)
    assert found.shape == (16, 16, 3)
    assert found[0, 0, 2] > 250
    assert found[0, 0, :2].max() < 8
    assert summarise(notes) == [CONVERTED]


def test_a_conversion_agrees_with_its_equations():
    """Adobe RGB's (50, 150, 50) by matrices: linear by 2.2, to XYZ, to sRGB."""
    to_xyz = np.array(
        [(0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457)]
    )
    srgb_to_xyz = np.array(
        [(0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.7141)]
    )
    for colour in ((120, 150, 110), (200, 180, 190), (60, 64, 70)):
        linear = (np.array(colour) / 255) ** 2.2
        target = np.linalg.solve(srgb_to_xyz, to_xyz @ linear).clip(0, 1)
        expected = 255 * np.where(
            target < 0.0031308, 12.92 * target, 1.055 * target ** (1 / 2.4) - 0.055
        )
        found = decode(saved(Image.new("RGB", (16, 16), colour), "PNG", icc_profile=WIDE))
        assert np.abs(found[0, 0] - expected).max() < 1.5


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("given", [None, SRGB], ids=["none", "srgb"])
def test_without_a_profile_and_with_srgb_no_value_changes(mode, given):
    random = np.random.default_rng(0)
    source = Image.fromarray(random.integers(0, 256, (33, 35, 4), dtype=np.uint8))
    image = source.convert("RGB").convert(mode) if mode in ("1", "P", "L") else source.convert(mode)
    notes = []
    found = decode(saved(image, "PNG", icc_profile=given), notes=notes)
    plain = {"1": "L", "P": "RGB"}.get(mode, mode)
    np.testing.assert_array_equal(found.squeeze(), np.asarray(image.convert(plain)))
    assert notes == (["{files} with a palette: converted to RGB"] if mode == "P" else [])


def test_alpha_and_greys_with_profiles():
    clear = decode(saved(Image.new("RGBA", (16, 16), (255, 0, 0, 7)), "PNG", icc_profile=SWAPPED))
    assert clear[0, 0, 3] == 7
    assert clear[0, 0, 2] > 250
    grey = decode(saved(Image.new("L", (16, 16), 128), "PNG", icc_profile=GREY))
    assert grey.shape == (16, 16, 1)
    assert 143 < grey[0, 0, 0] < 149  # 128 at gamma 1.8 as sRGB
    both = decode(saved(Image.new("LA", (16, 16), (128, 9)), "PNG", icc_profile=GREY))
    np.testing.assert_array_equal(both[0, 0], [grey[0, 0, 0], 9])
    neutral = decode(saved(Image.new("L", (16, 16), 128), "PNG", icc_profile=WIDE))
    assert abs(int(neutral[0, 0, 0]) - 128) < 3, "an RGB profile's neutral axis"


def test_palettes_with_profiles():
    image = Image.new("P", (16, 16))
    image.putpalette([255, 0, 0])
    assert decode(saved(image, "PNG", icc_profile=SWAPPED))[0, 0, 2] > 250
    assert decode(saved(image, "PNG", icc_profile=SWAPPED), "label").max() == 0


def test_ids_and_their_colours_are_never_converted():
    notes = []
    ids = decode(
        saved(Image.fromarray(IDS[None].repeat(2, 0)), "PNG", icc_profile=GREY),
        "label",
        notes=notes,
    )
    np.testing.assert_array_equal(ids[0, :, 0], IDS)
    red = saved(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=SWAPPED)
    np.testing.assert_array_equal(
        decode(red, convert_profile=False, notes=notes)[0, 0], [255, 0, 0]
    )
    assert notes == []


def test_deep_values_with_profiles_stay():
    deep = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257)
    data = saved(deep, "PNG", icc_profile=GREY)
    np.testing.assert_array_equal(decode(data)[..., 0], np.asarray(deep))


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])  # Pillow's JPEG is inverted, as Adobe's are
def test_cmyk_becomes_rgb_by_its_profile(form):
    for inks, lightness in (
        ((0, 0, 0, 0), 100),
        ((0, 0, 0, 255), 0),
        ((255, 0, 0, 0), 80),
        ((255, 255, 0, 0), 60),
    ):
        notes = []
        found = decode(
            saved(Image.new("CMYK", (16, 16), inks), form, icc_profile=CMYK), notes=notes
        )
        luminance = ((lightness + 16) / 116) ** 3 if lightness > 8 else 0
        expected = 255 * (1.055 * luminance ** (1 / 2.4) - 0.055) if luminance else 0
        assert found.shape == (16, 16, 3)
        assert np.abs(found.astype(int) - round(expected)).max() <= 3
        assert sorted(summarise(notes)) == ["1 file in CMYK: converted to RGB", CONVERTED]


def test_a_cmyk_file_with_another_models_profile_is_read_without_it():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    notes = []
    found = decode(saved(cyan, "TIFF", icc_profile=WIDE), notes=notes)
    np.testing.assert_array_equal(found[0, 0], [0, 255, 255])
    assert sorted(summarise(notes)) == ["1 file in CMYK: converted to RGB", UNUSABLE]


@pytest.mark.parametrize(
    "broken", [b"junk", WIDE[:200], GREY, bytes(200), SRGB[:128] + bytes(100), WIDE.ljust((4 << 20) + 1, b"\0")],
    ids=["junk", "cut", "grey for RGB", "zeros", "no tags", "too large"],
)  # fmt: skip
def test_a_broken_profile_is_reported_and_ignored(broken):
    array = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    notes = []
    data = saved(Image.fromarray(array), "TIFF", icc_profile=broken)
    np.testing.assert_array_equal(decode(data, notes=notes), array)
    assert summarise(notes) == [UNUSABLE]


def test_transforms_are_shared_by_threads_and_forked_processes():
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(8)]
    files = [saved(Image.fromarray(array), "PNG", icc_profile=WIDE) for array in arrays]
    expected = [decode(data) for data in files]
    with ThreadPoolExecutor(4) as threads:
        in_threads = list(threads.map(decode, files * 8))
    with multiprocessing.get_context("fork").Pool(2) as processes:
        in_processes = processes.map(decode, files)
    for found in (in_threads[-8:], in_processes):
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_profiles_transform_is_built_once():
    icc._transform.cache_clear()
    data = saved(Image.new("RGB", (16, 16), (9, 8, 7)), "PNG", icc_profile=WIDE)
    for _ in range(3):
        decode(data)
    assert icc._transform.cache_info().misses == 1
    assert icc._transform.cache_info().maxsize == 16
