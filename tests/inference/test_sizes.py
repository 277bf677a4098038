"""`translate` shows the networks what `evaluate` shows them, and reports the sizes of images."""

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run_here
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.data.batch import as_batch
from gantrain.data.decode import encode
from gantrain.data.loader import held_out_batches
from gantrain.data.prepare.pack import prepare
from gantrain.data.resize import resize_smoothly
from gantrain.data.scale import Size, Step, TrainedScale
from gantrain.data.shards import Shards
from gantrain.data.unpaired import DataSet, Unpaired
from gantrain.inference.sizes import NATIVE_OPTION, SizeReport, result_size
from gantrain.inference.translator import Translator
from gantrain.recipe.data_request import data_request, sample_transform

TINY = (
    "data.workers=0", "batch_size=2", "length=2", "precision=fp32", "device=cpu", "threads=1", "trackers=[]",
    "data.labels={}", "data.validation=null", "method.augment=[]", "ema.half_life=null", "run=x",
)  # fmt: skip
PAIRED = (
    "method={name: pix2pix, generator: {name: unet, width: 2, levels: 2}, discriminator: {name: patchgan, width: 2, "
    "layers: 1}}", *TINY,
)  # fmt: skip
CYCLEGAN = (
    "method={name: cyclegan, identity: 0, generator: {name: unet, width: 2, levels: 2}, discriminator: {name: "
    "patchgan, width: 2, layers: 1}}", *TINY, "data.unpaired=true", "data.source=image", "data.target=image",
    "evaluate={metrics: [swd], best_by: swd}",
)  # fmt: skip


def drawn(seed: int, size: Size, kind: str) -> np.ndarray:
    """Values of a kind of file, HWC."""
    random = np.random.default_rng(seed)
    if kind == "label":
        return random.integers(0, 5, (*size, 1), dtype=np.uint8)
    if kind == "instances":
        return random.integers(0, 900, (*size, 1), dtype=np.uint16)
    if kind == "uint16":
        return random.integers(0, 65536, (*size, 1), dtype=np.uint16)
    if kind == "float":
        return random.random((*size, 3), dtype=np.float32)
    return random.integers(0, 256, (*size, 4 if kind == "RGBA" else 3), dtype=np.uint8)


def write(folder: str, sizes: list[Size], kind: str = "RGB") -> None:
    Path(folder).mkdir(parents=True)
    extension = "npy" if kind == "float" else "png"
    for i, size in enumerate(sizes):
        Path(folder, f"{i}.{extension}").write_bytes(encode(drawn(i, size, kind), extension))


def evaluated(model: Translator, data: DataSet, i: int) -> Tensor:
    """The network's input of sample `i` as `evaluate` makes it."""
    fields, names = model.fields, data_request(model.recipe).names
    seen = sample_transform(model.recipe, fields, training=False)
    (raw,) = held_out_batches(data, seen, [i], 1, damaged=set())
    batch = as_batch(
        {role: raw.fields[name] for role, name in names.items()},
        fields,
        torch.float32,
        model.device,
    )
    return batch["source"]


def translated(model: Translator, image: Any, instances: Any = None, **options: Any) -> Tensor:
    """The network's input of an image as `translate` makes it."""
    seen: list[Tensor] = []
    usual = model._apply

    def watch(batch: dict[str, Tensor]) -> Tensor:
        seen.append(batch["source"])
        return usual(batch)

    model._apply = watch  # type: ignore[method-assign, assignment]
    try:
        further = {} if instances is None else {"instances": instances}
        model.translate(image, **further, **options)
    finally:
        model._apply = usual  # type: ignore[method-assign]
    (source,) = seen
    return source


def centre(images: Tensor, size: tuple[int, ...]) -> Tensor:
    top, left = ((whole - part) // 2 for whole, part in zip(images.shape[2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def quick_or_slow(table: Mapping[str, tuple[Any, ...]], quick: Collection[str]) -> list[Any]:
    """The rows as parameters; the rows that are not named in `quick` are in the slow part."""
    assert set(quick) <= set(table)
    return [
        pytest.param(*row, id=name, marks=[] if name in quick else [pytest.mark.slow])
        for name, row in table.items()
    ]


SAME = [(40, 56), (40, 56)]
VARYING = [(40, 56), (64, 32)]
# Sizes of the files, `prepare --resize`, the recipe's words, and the size that the networks see.
GEOMETRIES: dict[str, tuple[list[Size], Size | None, tuple[str, str], Size]] = {
    "one size": (SAME, None, ("data.size=[16,24]", "data.resize=[16,24]"), (16, 24)),
    "augmentation": (SAME, None, ("data.size=[16,24]", "data.resize=[18,27]"), (16, 24)),
    "past the ratio": (SAME, None, ("data.size=[16,16]", "data.resize=[20,28]"), (20, 28)),
    "prepared": (SAME, (20, 28), ("data.size=[20,28]", "data.resize=null"), (20, 28)),
    "prepared and cropped": (SAME, (20, 28), ("data.size=[16,16]", "data.resize=null"), (20, 28)),
    "prepared, then resized": (
        SAME,
        (24, 32),
        ("data.size=[16,20]", "data.resize=[18,22]"),
        (16, 20),
    ),
    "varying": (VARYING, None, ("data.size=[16,24]", "data.resize=[16,24]"), (16, 24)),
    "varying, past the ratio": (
        VARYING,
        None,
        ("data.size=[16,16]", "data.resize=[32,40]"),
        (32, 40),
    ),
    "varying, prepared": (VARYING, (20, 28), ("data.size=[20,28]", "data.resize=null"), (20, 28)),
}


@pytest.mark.parametrize(
    ("sizes", "resize", "words", "expected"),
    quick_or_slow(GEOMETRIES, ["one size", "past the ratio", "varying, prepared"]),
)
def test_the_networks_see_the_same_of_a_file_in_evaluate_and_translate(
    sizes: list[Size], resize: Size | None, words: tuple[str, str], expected: Size
) -> None:
    for folder in ("files/a", "files/b"):
        write(folder, sizes)
    prepare("files", "packed", resize=resize, progress=False)
    run_here(*PAIRED, "data.train=packed", "data.source=a", "data.target=b", *words)
    model = gantrain.load("runs/x", "cpu")
    for i in range(len(sizes)):
        seen = translated(model, f"files/a/{i}.png")
        assert seen.shape[2:] == expected
        shown = evaluated(model, Shards.open("packed"), i)
        # `prepare` may resize the columns before the rows, the loader does it after them. In noise
        # the values that are rounded and clipped between the passes then differ by some levels.
        level = 2 / 255
        difference = (centre(seen, shown.shape[2:]) - shown).abs() / level
        assert difference.max() <= (0 if resize is None else 8)
        assert difference.mean() < 0.5


# The kinds of the source and of a field of instances, and options of `prepare`.
KINDS: dict[str, tuple[str, bool]] = {
    "RGBA": ("RGBA", False),
    "uint16": ("uint16", False),
    "float": ("float", False),
    "class ids": ("label", False),
    "class ids and instances": ("label", True),
}


@pytest.mark.parametrize(
    ("kind", "instances"), quick_or_slow(KINDS, ["RGBA", "class ids and instances"])
)
def test_every_kind_of_file_is_resized_as_in_training(kind: str, instances: bool) -> None:
    write("files/a", SAME, kind)
    write("files/b", SAME)
    options: dict[str, Any] = {"labels": ["a"]} if kind == "label" else {}
    words = ["data.labels={a: 5}"] if kind == "label" else []
    if instances:
        write("files/ids", SAME, "instances")
        options["kinds"] = {"ids": "instances"}
        words.append("data.inputs.instances=ids")
    prepare("files", "packed", progress=False, **options)
    size = ("data.size=[16,24]", "data.resize=[16,24]")
    run_here(*PAIRED, "data.train=packed", "data.source=a", "data.target=b", *size, *words)
    model = gantrain.load("runs/x", "cpu")
    image = drawn(0, (40, 56), kind)
    ids = drawn(0, (40, 56), "instances")[..., 0] if instances else None
    shown = evaluated(model, Shards.open("packed"), 0)
    assert torch.equal(translated(model, image, ids), shown)
    file = f"files/a/0.{'npy' if kind == 'float' else 'png'}"
    assert torch.equal(translated(model, file, "files/ids/0.png" if instances else None), shown)
    further = {"instances": ids} if instances else {}
    assert model.translate(image, **further).shape == (40, 56, 3)
    assert model.translate(image, output_size="network", **further).shape == (16, 24, 3)
    if ids is not None:
        with pytest.raises(
            ValueError, match=r"allowed: ids of instances of shape \(40, 56, 1\), the image's"
        ):
            model.translate(image, instances=ids[:16, :24])


@pytest.mark.slow
def test_colours_become_class_ids_before_they_are_resized() -> None:
    write("files/b", SAME)
    Path("files/a").mkdir()
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (9, 9, 9), (200, 200, 0)], np.uint8)
    for i, size in enumerate(SAME):
        Image.fromarray(table[drawn(i, size, "label")[..., 0]]).save(f"files/a/{i}.png")
    Path("colours.txt").write_text(
        "\n".join(" ".join(map(str, colour)) for colour in table.tolist())
    )
    prepare("files", "packed", labels=["a"], colors="colours.txt", progress=False)
    size = ("data.size=[16,24]", "data.resize=[16,24]")
    run_here(
        *PAIRED, "data.train=packed", "data.source=a", "data.target=b", *size, "data.labels={a: 5}"
    )
    model = gantrain.load("runs/x", "cpu")
    for i in range(2):
        assert torch.equal(
            translated(model, f"files/a/{i}.png"), evaluated(model, Shards.open("packed"), i)
        )


def test_each_side_of_unpaired_data_has_its_own_scale() -> None:
    write("train/trainA", [(40, 56), (40, 56)])
    write("train/trainB", [(80, 84), (80, 84)])
    run_here(*CYCLEGAN, "data.train=train", "data.size=[16,24]", "data.resize=[18,27]")
    there, back = (gantrain.load("runs/x", "cpu", back=back) for back in (False, True))
    packed = []
    for letter in "AB":
        prepare(f"train/train{letter}", f"packed{letter}", layout="images", progress=False)
        packed.append(Shards.open(f"packed{letter}"))
    seen = translated(there, "train/trainA/0.png")
    assert torch.equal(seen, evaluated(there, Unpaired(packed, ("image", "image")), 0))
    seen = translated(back, "train/trainB/0.png")
    assert torch.equal(seen, evaluated(back, Unpaired(packed[::-1], ("image", "image")), 0))
    scene = np.zeros((80, 168, 3), np.uint8)
    assert translated(there, scene).shape[2:] == (32, 72)
    assert translated(back, scene).shape[2:] == (16, 48)
    assert back.translate(scene).shape == (80, 168, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on files of 64x64, which its networks saw at 16x16."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(folder / "cache"))
        for name in ("files/a", "files/b"):
            write(name, [(64, 64), (64, 64)])
        words = ("data.source=a", "data.target=b", "data.size=[16,16]", "data.resize=[16,16]")
        run_here(*PAIRED, "data.train=files", *words)
    return folder


@pytest.fixture
def model(trained: Path) -> Translator:
    """Its model; the run and the files are in the test's own folder, too."""
    shutil.copytree(trained / "runs", "runs")
    shutil.copytree(trained / "files", "files")
    return gantrain.load("runs/x", "cpu")


def test_the_size_can_be_chosen(model: Translator) -> None:
    image = drawn(0, (64, 96), "RGB")
    for size, seen in {
        None: (16, 24),
        "trained": (16, 24),
        "native": (64, 96),
        (20, 28): (20, 28),
    }.items():
        assert translated(model, image, size=size).shape[2:] == seen
        result = model.translate(image, size=size, output_size="network")
        assert result.shape == (*seen, 3)
        assert model.translate(image, size=size).shape == image.shape
    picture = model.translate(Image.fromarray(image), output_size="network")
    assert picture.size == (24, 16)
    native = translated(model, image, size="native")
    assert np.array_equal(native[0].permute(1, 2, 0).numpy(), (image / np.float32(127.5) - 1))


def test_a_path_gives_a_picture(model: Translator) -> None:
    path = Path("files/a/0.png")
    with Image.open(path) as image:
        expected = np.asarray(model.translate(image))
    for given in (path, str(path)):
        made = model.translate(given)
        assert isinstance(made, Image.Image)
        assert np.array_equal(np.asarray(made), expected)
    with pytest.raises(ValueError, match=r"^files/none\.png: "):
        model.translate("files/none.png")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another word": (
        {"size": "small"},
        r"^size: found 'small', allowed: 'native', 'trained' or \(height, width\)",
    ),
    "one number": ({"size": 16}, r"^size: found 16, allowed"),
    "zero": ({"size": (0, 16)}, r"^size: found \(0, 16\), allowed"),
    "a float": ({"size": (16.0, 16)}, r"^size: found \(16\.0, 16\), allowed"),
    "an array": ({"size": np.array([16, 16])}, r"^size: found array\(\[16, 16\]\), allowed"),
    "past reason": (
        {"size": (10**6, 16)},
        r"^size: 64x64 would become 1000000x16, an image may be enlarged to",
    ),
    "output": (
        {"output_size": "same"},
        r"^output_size: found 'same', allowed: 'input' or 'network'",
    ),
}


@pytest.mark.parametrize(("options", "says"), WRONG.values(), ids=list(WRONG))
def test_wrong_sizes_are_refused(model: Translator, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model.translate(drawn(0, (64, 64), "RGB"), **options)


def test_a_tensor_has_the_networks_size_already(model: Translator) -> None:
    tensor = torch.zeros(3, 40, 56)
    assert model.translate(tensor).shape == (3, 40, 56)
    for size in ("native", "trained", (16, 16)):
        with pytest.raises(
            ValueError, match=r"^size: found .* beside a tensor, allowed: none; it is never resized"
        ):
            model.translate(tensor, size=size)  # type: ignore[arg-type]


def test_one_line_for_a_translator_reports_a_resize(
    model: Translator, capsys: pytest.CaptureFixture[str]
) -> None:
    slightly = drawn(0, (20, 20), "RGB")
    model.translate(slightly, size=(16, 16))
    model.translate(slightly, size=(16, 16))
    said = capsys.readouterr().out
    expected = "translate: 1 image at 16x16: 20x20 -> 16x16 and back; size='native' keeps the original size\n"
    assert said == expected
    for _ in range(2):
        model.translate(drawn(0, (64, 64), "RGB"), output_size="network")
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert (
        "1 image at the trained scale: 64x64 -> 16x16; detail is lost by a reduction of up to 4 times; size="
        in said
    )
    model.translate(slightly, size="native")
    assert capsys.readouterr().out == ""


def command(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["translate", "runs/x", *words])
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


# What the command is given besides the files, the sizes of its results, and its line.
COMMANDS: dict[str, tuple[tuple[str, ...], list[Size], str]] = {
    "by default": (
        (), [(64, 64), (64, 64), (24, 32)],
        "3 images at the trained scale: 64x64 -> 16x16 and back (2), 24x32 -> 6x8 and back (1); detail is lost by a "
        "reduction of up to 4 times; --size native keeps the original size",
    ),
    "network": (
        ("--output-size", "network"), [(16, 16), (16, 16), (6, 8)],
        "3 images at the trained scale: 64x64 -> 16x16 (2), 24x32 -> 6x8 (1); detail is lost by a reduction of up to "
        "4 times; --size native keeps the original size",
    ),
    "native": (
        ("--size", "native"), [(64, 64), (64, 64), (24, 32)],
        "3 images at the original size: 64x64 (2), 24x32 (1)",
    ),
    "a size": (
        ("--size", "40x48", "--output-size", "network"), [(40, 48), (40, 48), (40, 48)],
        "3 images at 40x48: 64x64 -> 40x48 (2), 24x32 -> 40x48 (1); --size native keeps the original size",
    ),
}  # fmt: skip


def test_the_command_reports_the_sizes(model: Translator) -> None:
    write("new", [(64, 64), (64, 64), (24, 32)])
    for name, (words, sizes, line) in COMMANDS.items():
        said = command("new", "--out", name, *words)
        assert f"{line} 3 images in" in said
        for i, size in enumerate(sizes):
            with Image.open(f"{name}/{i}.png") as made:
                assert made.size[::-1] == size
    choice = {"size": (40, 48), "output_size": "network"}
    with Image.open("a size/2.png") as made, Image.open("new/2.png") as image:
        assert np.array_equal(np.asarray(made), np.asarray(model.translate(image, **choice)))


REFUSED = {
    "--size=huge": "--size: found 'huge', allowed: native, trained or HEIGHTxWIDTH in pixels, such as 256x512",
    "--size=0x5": "--size: found '0x5', allowed: native, trained or HEIGHTxWIDTH in pixels, such as 256x512",
    f"--size={'9' * 400}": "allowed: native, trained or HEIGHTxWIDTH in pixels, such as 256x512",
    "--size=999999999": "size: 64x64 would become 999999999x999999999, an image may be enlarged to 32768 pixels a side",
    "--output-size=same": "--output-size: found 'same', allowed: input or network",
}


def test_the_command_refuses_what_is_no_size(model: Translator) -> None:
    for word, says in REFUSED.items():
        assert says in command("files/a", "--out", "out", word, status=2)
        assert not Path("out").exists()


def test_files_of_several_sizes_share_batches_at_the_networks_size(
    model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("new", [(64, 64), (24, 32), (50, 40)])
    counts: list[int] = []
    usual = Translator.translate_arrays

    def watch(self: Translator, samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        counts.append(len(samples))
        return usual(self, samples)

    monkeypatch.setattr(Translator, "translate_arrays", watch)
    command("new", "--out", "out", "--size", "32x32")
    assert counts == [3]


def test_pairs_of_different_sizes_are_translated_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A model of enlarged sources, which can't know how large a new file should be; the line
    names the other choice.
    """
    write("files/a", [(16, 20), (16, 20)])
    write("files/b", [(32, 40), (32, 40)])
    prepare("files", "packed", resize=(32, 40), progress=False)
    words = ("data.source=a", "data.target=b", "data.size=[32,40]", "data.resize=null")
    run_here(*PAIRED, "data.train=packed", *words)
    model = gantrain.load("runs/x", "cpu")
    image = drawn(0, (16, 20), "RGB")
    capsys.readouterr()
    assert translated(model, image).shape[2:] == (16, 20)
    said = "1 image at the original size: 16x20; in training the networks saw the source's files resized to 32x40, as "
    assert f"{said}size='trained' does" in capsys.readouterr().out
    assert torch.equal(
        translated(model, image, size="trained"), evaluated(model, Shards.open("packed"), 0)
    )


RESULT_SIZES: dict[str, tuple[Size, Size, Size, Size]] = {
    "resized back": ((64, 96), (16, 24), (16, 24), (64, 96)),
    "nothing to do": ((64, 96), (64, 96), (64, 96), (64, 96)),
    "networks that enlarge": ((64, 96), (64, 96), (256, 384), (256, 384)),
    "networks that enlarge what was resized": ((64, 96), (32, 48), (128, 192), (256, 384)),
}


@pytest.mark.parametrize(
    ("before", "network", "made", "expected"), RESULT_SIZES.values(), ids=list(RESULT_SIZES)
)
def test_a_result_has_the_inputs_size_times_the_networks_factor(
    before: Size, network: Size, made: Size, expected: Size
) -> None:
    assert result_size(before, network, made) == expected


@pytest.mark.slow
def test_the_image_of_a_style_has_the_scale_of_targets() -> None:
    write("files/a", [(64, 64), (64, 64)], "label")
    write("files/b", [(64, 64), (64, 64)])
    prepare("files", "packed", labels=["a"], progress=False)
    spade = "method={name: spade, style: vae, losses: {perceptual: 0}, generator: {name: spade, width: 2, hidden: 4}}"
    words = ("data.train=packed", "data.source=a", "data.target=b", "data.labels={a: 5}")
    run_here(spade, *TINY[:-2], "run=x", *words, "data.size=[16,16]", "data.resize=[16,16]")
    usual = gantrain.load("runs/x", "cpu")
    (raw,) = held_out_batches(
        Shards.open("packed"),
        sample_transform(usual.recipe, usual.fields, training=False),
        [0],
        1,
        damaged=set(),
    )
    target = raw.fields["b"].permute(0, 3, 1, 2) / 127.5 - 1
    assert target.shape[2:] == (16, 16)
    model = gantrain.load("runs/x", "cpu", style="files/b/0.png")
    with torch.no_grad():
        assert torch.equal(model.style["style"], usual.method.networks["encoder"](target)[0])


def test_evaluate_measures_what_translate_makes(model: Translator) -> None:
    words = ("--data", "files", "--device", "cpu", "--metrics", "l1", "--out", "found.json")
    done = CliRunner().invoke(app, ["evaluate", "runs/x", *words])
    assert done.exit_code == 0, done.output
    differences = []
    for i in range(2):
        target = resize_smoothly(drawn(i, (64, 64), "RGB"), 16, 16) / 127.5
        fake = model.translate(drawn(i, (64, 64), "RGB"), output_size="network") / 127.5
        differences.append(np.abs(fake - target).mean())
    assert json.loads(Path("found.json").read_text())[0]["value"] == pytest.approx(
        np.mean(differences), rel=1e-3
    )


def test_training_and_evaluate_say_at_which_scale_they_measure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("files/a", "files/b"):
        write(folder, [(64, 64), (64, 64)])
    words = (
        "data.source=a",
        "data.target=b",
        "data.size=[16,16]",
        "data.resize=[32,32]",
        "evaluate.metrics=[l1]",
    )
    run_here(*PAIRED, "data.train=files", *words, "data.validation=files")
    shown = "the centre 16x16 of each sample resized to 32x32"
    line = f"held-out samples: {shown}, since data.resize is 1.25 times data.size or more"
    assert line in capsys.readouterr().out
    words = ("--device", "cpu", "--metrics", "l1", "--out", "found.json")
    done = CliRunner().invoke(app, ["evaluate", "runs/x", *words])
    assert done.exit_code == 0, done.output
    assert line in done.output
    assert json.loads(Path("found.json").read_text())[0]["scale"] == shown


@pytest.mark.parametrize(
    ("sizes", "is_said"),
    [
        ([(64, 128)], True),
        ([(64, 128), (128, 256)], True),
        ([(64, 128), (64, 64)], False),
        ([(64, 64)], False),
    ],
)
def test_pairs_given_as_sources_are_noticed(sizes: list[tuple[int, int]], is_said: bool) -> None:
    scale = TrainedScale((Step((64, 64), (32, 32)),), "trained")
    report = SizeReport(scale, None, "input", NATIVE_OPTION)
    for size in sizes:
        report.add(size, (32, 32))
    assert ("twice as wide as the sources of training" in report.line()) == is_said
