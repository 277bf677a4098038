"""Decoding keeps depth, channels and ids; what isn't as expected is said in one line."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gantrain.data.decode import cut, decode, decode_sample, encode
from gantrain.data.kinds.kind import NotLabels
from gantrain.data.label_colours import palette
from gantrain.data.resize import resize_for_storage, resize_nearest, resize_smoothly
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import DamagedSample, Field, Shards


def _random(channels, dtype, height=12, width=20):
    random = np.random.default_rng(channels)
    if dtype == "float32":
        return random.random((height, width, channels), np.float32)
    return random.integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def _saved(array, form, **more):
    stream = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array.squeeze())
    image.save(stream, form, **more)
    return stream.getvalue()


LOSSLESS = {
    "png 8 bit grey": (1, "uint8", lambda a: encode(a, "png")),
    "png 8 bit grey alpha": (2, "uint8", lambda a: encode(a, "png")),
    "png 8 bit rgb": (3, "uint8", lambda a: encode(a, "png")),
    "png 8 bit rgba": (4, "uint8", lambda a: encode(a, "png")),
    "png 16 bit grey": (1, "uint16", lambda a: encode(a, "png")),
    "pillow's png 16 bit": (1, "uint16", lambda a: _saved(a, "PNG")),
    "tiff grey": (1, "uint8", lambda a: _saved(a, "TIFF")),
    "tiff rgb deflate": (3, "uint8", lambda a: _saved(a, "TIFF", compression="tiff_adobe_deflate")),
    "tiff rgba": (4, "uint8", lambda a: _saved(a, "TIFF")),
    "tiff 16 bit": (1, "uint16", lambda a: _saved(a, "TIFF")),
    "tiff float": (1, "float32", lambda a: _saved(a, "TIFF")),
    "webp lossless": (3, "uint8", lambda a: _saved(a, "WEBP", lossless=True)),
    "npy 8 bit": (7, "uint8", lambda a: encode(a, "npy")),
    "npy 16 bit": (2, "uint16", lambda a: encode(a, "npy")),
    "npy float": (5, "float32", lambda a: encode(a, "npy")),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_round_trip(name):
    channels, dtype, write = LOSSLESS[name]
    array = _random(channels, dtype)
    data = write(array)
    found = decode(data)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_channels_and_is_close(channels):
    ramp = np.linspace(0, 255, 64 * 48 * channels).reshape(48, 64, channels).astype(np.uint8)
    found = decode(encode(ramp, "jpg"))
    assert found.shape == ramp.shape
    assert np.abs(found.astype(int) - ramp).mean() < 2


def test_palette_gives_ids_or_colours():
    ids = np.random.default_rng(0).integers(0, 3, (9, 7), dtype=np.uint8)
    image = Image.new("P", (7, 9))
    image.putdata(ids.ravel().tolist())
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    data = _saved(image, "PNG")
    np.testing.assert_array_equal(decode(data, "label")[..., 0], ids)
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    np.testing.assert_array_equal(decode(data, "image"), colours[ids])


def test_one_bit_files():
    mask = np.random.default_rng(0).random((9, 13)) < 0.5
    data = _saved(Image.fromarray(mask), "PNG")
    np.testing.assert_array_equal(decode(data, "label")[..., 0], mask.astype(np.uint8))
    np.testing.assert_array_equal(decode(data, "image")[..., 0], mask * np.uint8(255))


def test_cmyk_becomes_rgb():
    data = _saved(Image.new("CMYK", (20, 12), (0, 255, 255, 0)), "JPEG")
    found = decode(data)
    assert found.shape == (12, 20, 3)
    assert found[0, 0, 0] > 200 > 60 > found[0, 0, 1]


def test_exif_orientation_is_applied():
    array = _random(3, "uint8", 8, 24)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    for data in (_saved(array, "PNG", exif=exif), _saved(array, "TIFF", exif=exif)):
        np.testing.assert_array_equal(decode(data), np.rot90(array, -1))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_labels_in_npy(dtype):
    ids = np.arange(12).reshape(3, 4).astype(dtype)
    stream = io.BytesIO()
    np.save(stream, ids)
    found = decode(stream.getvalue(), "label")
    assert found.dtype in (np.uint8, np.uint16)
    np.testing.assert_array_equal(found[..., 0], ids)


def _npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


REFUSED = {
    "nothing": (b"", "image", "cannot identify"),
    "text": (b"hello, this is no image at all", "image", "cannot identify"),
    "cut jpeg": (encode(_random(3, "uint8", 64, 64), "jpg")[:900], "image", "truncated"),
    "cut png": (encode(_random(3, "uint8", 64, 64), "png")[:900], "image", "decode|truncated"),
    "cut npy": (_npy(np.zeros((9, 9), np.uint8))[:-4], "image", "reshape|read|shape|EOF"),
    "pcx": (_saved(Image.new("L", (9, 9)), "PCX"), "image", "cannot identify"),
    "pickle": (_npy(np.array([[object()]])), "image", "Object arrays cannot"),
    "double": (_npy(np.zeros((9, 9))), "image", "float64, expected one of uint8"),
    "vector": (_npy(np.zeros(9, np.uint8)), "image", r"shape \[9\]"),
    "empty": (_npy(np.zeros((0, 9), np.uint8)), "image", "empty"),
    "nan": (_npy(np.full((9, 9), np.nan, np.float32)), "image", "NaN"),
    "16-bit colour tiff": (None, "image", "3 channels with 16 bits"),
    "rgb label": (encode(_random(3, "uint8"), "png"), "label", "RGB where class ids"),
    "jpeg label": (encode(_random(1, "uint8"), "jpg"), "label", "JPEG where class ids"),
    "float label": (_npy(np.zeros((9, 9), np.float32)), "label", "float32 where class ids"),
    "negative label": (_npy(np.full((9, 9), -1)), "label", "values -1..-1"),
}


def _tiff16():
    """A little 16-bit RGB TIFF, which Pillow can't write."""
    import struct

    entries = [(256, 4), (257, 2), (258, None), (259, 1), (262, 2), (273, 8), (277, 3), (278, 2)]
    pixels = bytes(4 * 2 * 6)
    directory = 8 + len(pixels) + 6
    body = struct.pack("<2sHI", b"II", 42, directory) + pixels + struct.pack("<3H", 16, 16, 16)
    body += struct.pack("<H", len(entries) + 1)
    for tag, value in entries:
        if value is None:
            body += struct.pack("<HHII", tag, 3, 3, 8 + len(pixels))
        else:
            body += struct.pack("<HHII", tag, 3 if tag != 273 else 4, 1, value)
    body += struct.pack("<HHII", 279, 4, 1, len(pixels))
    return body + struct.pack("<I", 0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_as_expected_is_refused_in_one_line(name):
    data, kind, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as caught:
        decode(_tiff16() if data is None else data, kind)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, NotLabels) == ("where class ids" in reason)


def test_several_images_in_a_file_are_refused():
    frames = [Image.fromarray(_random(3, "uint8")) for _ in range(2)]
    data = _saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="several images"):
        decode(data)


@pytest.mark.parametrize(
    ("channels", "dtype", "extension"),
    [(4, "uint8", "jpg"), (1, "uint16", "jpg"), (5, "uint8", "png"), (1, "float32", "png")],
)
def test_encode_refuses_what_does_not_fit(channels, dtype, extension):
    with pytest.raises(ValueError, match="do not fit"):
        encode(_random(channels, dtype), extension)


@pytest.mark.parametrize("resize", [resize_smoothly, resize_for_storage])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_resize_keeps_dtype_range_and_constants(dtype, channels, resize):
    array = np.full((10, 30, channels), 200, dtype)
    found = resize(array, 25, 17)
    assert (found.shape, found.dtype) == ((25, 17, channels), array.dtype)
    np.testing.assert_array_equal(found, 200)
    noise = resize(_random(channels, dtype), 25, 17)
    if dtype == "uint16":
        assert noise.max() > 255


@pytest.mark.parametrize("size", [(31, 47), (143, 143), (200, 77), (7, 5)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_on_disk_and_in_batches_are_resized_alike(channels, size):
    """The two filters differ by the rounding of their integer weights."""
    rows, columns = np.mgrid[:83, :61]
    waves = np.sin(rows / 5) * np.cos(columns / 3) * 100 + 128
    noise = _random(channels, "uint8", 83, 61).astype(int) // 8
    image = (waves[..., None] + noise).clip(0, 255).astype(np.uint8)
    if channels in (2, 4):
        image[..., -1] = 255
    stored = resize_for_storage(image, *size).astype(int)
    shown = resize_smoothly(image, *size)
    difference = np.abs(stored - shown)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 0.005


def test_a_resized_image_has_the_same_bits_on_every_kind_of_cpu():
    """Runs on machines with and without AVX2 and AVX-512 see the same batches."""
    code = (
        "import hashlib, numpy as np, torch\n"
        "from gantrain.data.resize import resize_smoothly\n"
        "torch.set_num_threads({threads})\n"
        "digest = hashlib.sha256()\n"
        "for channels in (1, 2, 3, 4):\n"
        "    image = np.random.default_rng(0).integers(0, 256, (90, 133, channels), np.uint8)\n"
        "    for size in ((64, 64), (45, 200), (143, 143)):\n"
        "        digest.update(resize_smoothly(image, *size).tobytes())\n"
        "        digest.update(resize_smoothly(image[:, 40:], *size).tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    digests = set()
    for capability, threads in (("default", 1), ("avx2", 1), ("avx512", 2)):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
        script = code.format(threads=threads)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_resized_labels_hold_only_their_ids():
    ids = np.random.default_rng(0).choice([3, 250], (40, 40, 1)).astype(np.uint8)
    assert set(np.unique(resize_nearest(ids, 13, 57))) == {3, 250}


def test_palette_colours_differ():
    for n in (1, 2, 19, 35, 151):
        colours = palette(n)
        assert len(colours) == len(set(colours)) == n
        assert all(0 <= c <= 255 for colour in colours for c in colour)


def _write(folder, members, fields):
    write_shards([PackedSample("one", members)], folder, fields)
    return Shards.open(folder)


def _field(member, channels=3, **more):
    return Field(member=member, channels=channels, min_size=(12, 10), max_size=(12, 20), **more)


def test_a_pair_is_cut_into_its_halves(tmp_path, monkeypatch):
    array = _random(3, "uint8")
    fields = {"left": _field("pair", half=0), "right": _field("pair", half=1)}
    shards = _write(tmp_path / "set", {"pair": ("png", encode(array, "png"))}, fields)
    reads = []
    read = Shards.read
    monkeypatch.setattr(Shards, "read", lambda *a: reads.append(a) or read(*a))
    found = decode_sample(shards, 0, ["left", "right"])
    np.testing.assert_array_equal(found["left"], array[:, :10])
    np.testing.assert_array_equal(found["right"], array[:, 10:])
    assert len(reads) == 1
    assert list(decode_sample(shards, 0, ["right"])) == ["right"]
    with pytest.raises(ValueError, match="width 9 is odd"):
        cut(array[:, :9], 0)


def test_a_sample_that_is_not_as_indexed_is_damaged(tmp_path):
    image, other = encode(_random(3, "uint8"), "png"), encode(_random(3, "uint8", 12, 24), "png")
    fields = {"a": _field("a"), "b": _field("b")}
    sizes = _write(tmp_path / "sizes", {"a": ("png", image), "b": ("png", other)}, fields)
    with pytest.raises(DamagedSample, match=r"differ in size: a 12x20, b 12x24"):
        decode_sample(sizes, 0, ["a", "b"])
    assert list(decode_sample(sizes, 0, ["a"])) == ["a"]
    grey = encode(_random(1, "uint16"), "png")
    kinds = _write(tmp_path / "kinds", {"a": ("png", image), "b": ("png", grey)}, fields)
    with pytest.raises(DamagedSample, match=r"sample 0 \(one\): b: 1 channel of uint16"):
        decode_sample(kinds, 0, ["a", "b"])
    junk = _write(tmp_path / "junk", {"a": ("png", b"junk")}, {"a": _field("a")})
    with pytest.raises(DamagedSample, match=r"s-000000\.tar, sample 0 \(one\): a: does not decode"):
        decode_sample(junk, 0, ["a"])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_colours_do_not_show_in_a_resized_image(channels):
    top = 255
    image = np.zeros((32, 32, channels), np.uint8)
    image[:, :16, :-1] = top  # transparent pixels have a bright colour, opaque ones are black
    image[:, 16:, -1] = top
    for size in (11, 32, 50):
        resized = resize_smoothly(image, size, size)
        shown = resized[..., -1] > 0
        assert resized.dtype == image.dtype
        assert shown.any()
        assert not shown.all()
        if size != 32:
            assert resized[shown][:, :-1].max() <= top * 1e-5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [2, 4])
def test_measurements_have_no_alpha(channels, dtype):
    """Each of 2 or 4 bands is resized by itself, whatever the last one holds."""
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    random = np.random.default_rng(0)
    bands = (random.uniform(0, 1, (32, 32, channels)) * top).astype(dtype)
    resized = resize_smoothly(bands, 20, 20)
    for band in range(channels):
        alone = resize_smoothly(bands[..., band : band + 1], 20, 20)[..., 0]
        np.testing.assert_allclose(resized[..., band], alone, atol=top * 0.02)


def test_an_opaque_image_is_resized_as_one_without_alpha():
    opaque = np.concatenate([_random(3, "uint8"), np.full((12, 20, 1), 255, np.uint8)], axis=2)
    resized = resize_smoothly(opaque, 7, 9)
    assert (resized[..., 3] == 255).all()
    assert np.abs(resized[..., :3].astype(int) - resize_smoothly(opaque[..., :3], 7, 9)).max() <= 1


@pytest.mark.parametrize(
    ("kind", "expected"), [("label", []), ("image", ["{files} with a palette: converted to RGB"])]
)
def test_a_palette_that_becomes_colours_is_noted(kind, expected):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    notes = []
    decode(stream.getvalue(), kind, notes=notes)
    assert notes == expected
