"""A trained model by itself: `gantrain.load`, `gantrain translate`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, run_here
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.data.decode import encode
from gantrain.data.synthetic import PALETTE, draw
from gantrain.inference.translator import Translator
from gantrain.methods import METHODS
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.methods.style_check import describe_methods_with_styles
from gantrain.recipe import conv_timing, machine_precision
from gantrain.recipe.conv_timing import Times

SHORT = (*SMALL, "batch_size=8", "length=16", "previews.every=16", "evaluate.every=16")


@pytest.fixture
def model() -> Translator:
    run_here(*SHORT, "run=x", "ema.half_life=null")
    return gantrain.load("runs/x", device="cpu")


def test_run_checkpoint_and_path_give_the_same_model(model: Translator) -> None:
    ids = draw(0, 40, 56, seed=9)[0]
    expected = model.translate(ids)
    for path in ("runs/x/checkpoints/000000016", Path("runs/x")):
        assert np.array_equal(gantrain.load(path, "cpu").translate(ids), expected)


def test_arrays_pictures_and_tensors_agree(model: Translator) -> None:
    ids = draw(0, 37, 51, seed=9)[0]  # a size that no level of the network divides
    array = model.translate(ids)
    assert array.shape == (37, 51, 3)
    assert array.dtype == np.uint8
    picture = Image.fromarray(ids)
    assert np.array_equal(np.asarray(model.translate(picture)), array)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(ids).long(), 10).permute(2, 0, 1).float()
    tensor = model.translate(one_hot)
    assert tensor.shape == (3, 37, 51)
    values = ((tensor.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    # Sums in another order may round a value near a half to the other side.
    assert np.abs(values - array).max() < 0.5 + 1e-3
    assert model.translate(one_hot[None].half()).dtype == torch.float16


def test_colours_of_classes_stand_for_their_ids(model: Translator) -> None:
    ids = draw(0, 40, 56, seed=9)[0]
    expected, colours = model.translate(ids), np.array(PALETTE, np.uint8)[ids]
    picture = Image.fromarray(colours)
    assert np.array_equal(model.translate(colours), expected)
    for mode in ("RGB", "RGBA"):
        assert np.array_equal(np.asarray(model.translate(picture.convert(mode))), expected)
    few = picture.quantize(10)  # its numbers are no ids
    assert np.array_equal(np.asarray(model.translate(few)), expected)
    few.save("palette.png")
    (read,) = model.translate_arrays([model.reader.read(Path("palette.png"), {})])
    assert np.array_equal(read, expected)
    picture.save("colours.png")
    picture.save("lossy.jpg")
    (read,) = model.translate_arrays([model.reader.read(Path("colours.png"), {})])
    assert np.array_equal(read, expected)
    with pytest.raises(ValueError, match=r"lossy\.jpg: a JPEG where class ids are expected"):
        model.reader.read(Path("lossy.jpg"), {})
    colours[0, :3] = 7
    with pytest.raises(ValueError, match=r"colours of no class: 7 7 7 \(3 pixels\)"):
        model.translate(colours)


def test_averaged_weights_are_used_where_the_run_kept_them() -> None:
    run_here(*SHORT, "run=plain", "ema.half_life=null")
    run_here(*SHORT, "run=averaged", "ema.half_life=1000")
    ids = draw(0, 32, 32, seed=9)[0]
    plain, averaged = (
        gantrain.load(f"runs/{r}", "cpu").translate(ids) for r in ("plain", "averaged")
    )
    assert not np.array_equal(plain, averaged)


@pytest.mark.slow
def test_styles_are_drawn_or_an_images() -> None:
    """A style moves the mean style's picture, and the same seed or image gives the same one."""
    learnt = "method={name: spade, style: vae, losses: {perceptual: 0}, generator: {name: spade, width: 2, hidden: 4}}"
    run_here(*SHORT[:2], *SHORT[5:], learnt, "run=x", "data.size=[16,16]")
    ids, photo, _ = draw(0, 32, 32, seed=9)
    Path("style.png").write_bytes(encode(photo, "png"))
    usual, drawn, again, other, shown = (
        gantrain.load("runs/x", "cpu", style=style).translate(torch.nn.functional.one_hot(
            torch.from_numpy(ids).long(), 10).permute(2, 0, 1).float())
        for style in (None, "3", "3", "4", "style.png")
    )  # fmt: skip
    assert torch.equal(drawn, again)
    assert not any(torch.equal(usual, x) or torch.equal(other, x) for x in (drawn, shown))
    model = gantrain.load("runs/x", "cpu", style="style.png")
    Path("style.png").write_bytes(encode(photo[::-1], "png"))
    assert gantrain.load("runs/x", "cpu", style="style.png").identity != model.identity
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(model.style["style"], model.method.networks["encoder"](image)[0])
    for style, says in (
        ("no.png", "style: found no.png"),
        ("deep.png", "with 1 channel, this model makes uint8"),
    ):
        Path("deep.png").write_bytes(encode(photo[..., :1].astype(np.uint16), "png"))
        with pytest.raises(ValueError, match=says):
            gantrain.load("runs/x", "cpu", style=style)


def test_methods_from_outside_state_that_they_learn_styles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Styled(Pix2Pix):
        def style(self, given: int | torch.Tensor) -> torch.Tensor:
            return torch.zeros(1, 8)

    monkeypatch.setitem(METHODS, "styled", Styled)
    monkeypatch.setitem(METHODS, "wrong", None)
    assert describe_methods_with_styles() == "spade with method.style=vae, styled"


def test_styles_of_a_model_without_any_are_refused(model: Translator) -> None:
    with pytest.raises(
        ValueError,
        match=r"^style: found a pix2pix model that has learnt none, allowed: one of spade with method.style=vae$",
    ):
        gantrain.load("runs/x", "cpu", style="3")


def test_wrong_inputs_are_refused(model: Translator) -> None:
    with pytest.raises(ValueError, match="found class id 12, this model knows ids 0 to 9"):
        model.translate(np.full((32, 32), 12, np.uint8))
    with pytest.raises(ValueError, match="C = 10"):
        model.translate(torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match=r"uint8 with 3 channels.*class ids, uint8 with 1"):
        model.translate(Image.new("RGB", (32, 32)))


def test_pixels_of_no_class_are_translated_as_the_last_one(model: Translator) -> None:
    last, none = (
        np.pad(draw(0, 32, 32, seed=9)[0].clip(0, 8), 4, constant_values=i) for i in (9, 255)
    )
    expected = model.translate(last)
    model.reader.source = model.source.model_copy(update={"ignore": 255})
    assert np.array_equal(model.translate(none), expected)
    for wrong in (9, 12):  # the last class has no id but 255
        none[8, 8] = wrong
        with pytest.raises(
            ValueError, match=f"found class id {wrong}, this model knows ids 0 to 8, and 255"
        ):
            model.translate(none)


@pytest.mark.slow
def test_grey_and_alpha_are_fitted_to_a_colour_model() -> None:
    gantrain.train(
        "pix2pix", "data=synthetic", "data.size=[32,32]", "data.resize=null", "data.workers=0",
        "method.generator.width=4", "method.generator.levels=2", "method.discriminator.width=4",
        "method.discriminator.layers=1", "batch_size=4", "length=4", "device=cpu", "trackers=[]",
    )  # fmt: skip
    model = gantrain.load("runs/pix2pix", "cpu")
    grey = draw(0, 32, 32, seed=9)[1][..., 0]
    colour = np.repeat(grey[..., None], 3, 2)
    expected = model.translate(colour)
    alpha = np.concatenate([colour, np.full((32, 32, 1), 255, np.uint8)], 2)
    for name, array in {"grey": grey, "alpha": alpha, "both": alpha[..., 2:]}.items():
        assert np.array_equal(model.translate(array), expected), name
        Image.fromarray(array).save(f"{name}.png")
        assert np.array_equal(model.reader.read(Path(f"{name}.png"), {})["source"], colour), name
    with pytest.raises(ValueError, match="found uint8 with 5 channels"):
        model.translate(np.zeros((32, 32, 5), np.uint8))
    assert np.array_equal(np.asarray(model.translate(Image.fromarray(grey))), expected)


def test_translate_command_takes_files_and_folders_of_any_size(model: Translator) -> None:
    folder = Path("inputs")
    folder.mkdir()
    sizes = [(32, 32), (32, 32), (45, 20), (32, 32)]
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(draw(i, height, width, seed=9)[0]).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    result = CliRunner().invoke(app, ["translate", "runs/x", "inputs", "--out", "out"])
    assert result.exit_code == 1, result.output  # one file is left out
    assert "4 images in out" in result.output
    assert "broken.png" in result.output
    for i, (height, width) in enumerate(sizes):
        with Image.open(f"out/{i}.png") as image:
            assert image.size == (width, height)
            alone = model.translate(draw(i, height, width, seed=9)[0])
            # A batch's sums may come in another order than one image's.
            assert np.abs(np.asarray(image).astype(int) - alone.astype(int)).max() <= 1


def test_test_time_modes_are_kept_with_the_checkpoint() -> None:
    options = ("test_time.dropout=true", "test_time.batch_statistics=true")
    networks = ("method.generator.norm=batch", "method.generator.dropout=0.5")
    run_here(*SHORT, "run=x", *options, *networks, "method.generator.levels=5")
    model = gantrain.load("runs/x", "cpu")
    assert model.one_by_one
    modes = {type(m).__name__: m.training for m in model.method.networks["generator"].modules()}
    assert modes["BatchNorm2d"]
    assert not modes["Conv2d"]


def test_bf16_changes_images_by_a_few_levels(model: Translator) -> None:
    ids = draw(0, 40, 56, seed=9)[0]
    expected = model.translate(ids).astype(int)
    in_bf16 = gantrain.load("runs/x", "cpu", precision="bf16")
    found = in_bf16.translate(ids)
    difference = np.abs(found - expected)
    assert 0 < difference.max() <= 8
    assert difference.mean() < 1
    assert "in bf16 on cpu" in repr(in_bf16)
    assert gantrain.load("runs/x", "cpu").precision.name == "fp32"


@pytest.mark.parametrize(("bf16_microseconds", "expected"), [(1000, "bf16"), (2000, "fp32")])
def test_auto_takes_the_faster_precision(
    model: Translator,
    bf16_microseconds: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """It times forward passes alone, and reports the choice once, where it translates."""
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "own-cache"))
    monkeypatch.setattr(machine_precision, "has_bf16", lambda device: True)
    timed: list[bool] = []

    def stand_in(convolutions: object, device: torch.device, *, backward: bool) -> Times:
        timed.append(backward)
        return Times(fp32_microseconds=1500, bf16_microseconds=bf16_microseconds)

    monkeypatch.setattr(conv_timing, "measure", stand_in)
    ids = draw(0, 32, 32, seed=9)[0]
    for _ in range(2):  # the second time from the cache
        chosen = gantrain.load("runs/x", "cpu", precision="auto")
        assert chosen.precision.name == expected
        capsys.readouterr()
        chosen.translate(ids)
        chosen.translate(ids)
        said = " ".join(capsys.readouterr().out.split())
        assert said.count(f"precision: auto is {expected}: bf16 is") == 1
        assert "precision=fp32 or precision=bf16 chooses without a measurement" in said
    assert timed == [False]


def test_the_command_states_the_precision_of_its_results(model: Translator) -> None:
    Path("in").mkdir()
    for number in range(3):
        ids = draw(0, 32, 32, seed=number)[0]
        Path(f"in/{number}.png").write_bytes(encode(ids, "png"))
    words = ["translate", "runs/x", "in", "--out", "out", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--precision", "bf16"])
    assert done.exit_code == 0
    assert done.output.endswith("3 images in out, computed in bf16\n")
    # Results of another precision are not taken for these.
    done = CliRunner().invoke(app, [*words, "--precision", "fp32"])
    assert done.exit_code == 2
    assert "another precision made it" in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*words, "--precision", "fp32", "--overwrite"])
    assert done.output.endswith("3 images in out\n")
    done = CliRunner().invoke(app, [*words, "--precision", "fp16"])
    assert done.exit_code == 2
    assert "--precision: found 'fp16', allowed: auto, fp32, bf16" in " ".join(done.output.split())


@pytest.mark.parametrize("batch_size", ["1", "3"])
def test_threads_change_no_result(model: Translator, batch_size: str) -> None:
    """Files are read and written by threads; each result is that of its own file, in order."""
    Path("in").mkdir()
    for number in range(12):
        ids = draw(number, 24 + 8 * (number // 4), 32, seed=number)[0]
        Path(f"in/{number:02}.png").write_bytes(encode(ids, "png"))
    Path("in/03.png").write_bytes(b"no image")
    words = ["translate", "runs/x", "in", "--out", "out", "--device", "cpu", "--precision", "fp32"]
    done = CliRunner().invoke(app, [*words, "--batch-size", batch_size])
    assert done.exit_code == 1
    assert "11 images in out, 1 left out" in done.output
    assert "left out: in/03.png: does not decode" in " ".join(done.output.split())
    for number in range(12):
        if number != 3:
            with Image.open(f"out/{number:02}.png") as image:
                result = np.asarray(image)
            expected = model.translate(Path(f"in/{number:02}.png"))
            # Sums of another batch may round a value near a half to the other side.
            assert np.abs(result.astype(int) - np.asarray(expected)).max() <= 1
