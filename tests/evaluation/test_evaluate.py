"""`gantrain evaluate`: checkpoints, folders, ranks, what it refuses; and metrics while training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_identical, tensors
from conftest import SMALL, run_here
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from gantrain.cli import app
from gantrain.data.decode import encode
from gantrain.data.synthetic import draw
from gantrain.evaluation import evaluate_options
from gantrain.metrics.image_statistics import RandomNetwork
from gantrain.metrics.registry import SEGMENTATION
from gantrain.metrics.segmentation import Segmenter

SHORT = (
    *SMALL,
    "evaluate.metrics=[l1,psnr,ssim]",
    "batch_size=8",
    "length=16",
    "evaluate.max_samples=12",
    "checkpoint.every=16",
)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app.app, ["evaluate", *map(str, words), "--device", "cpu"])
    return result.exit_code, result.output


def records(file: Path) -> dict[tuple[str, str], dict[str, object]]:
    return {(r["set"], r["name"]): r for r in json.loads(file.read_text())}


def folder(
    name: str, seeds: range, sides: tuple[int, int] = (32, 48), names: str = "{:03d}"
) -> Path:
    path = Path(name)
    path.mkdir()
    for i in seeds:
        Image.fromarray(draw(i, *sides, seed=7)[1]).save(
            path / f"{names.format(i % len(seeds))}.png"
        )
    return path


@pytest.fixture
def trained() -> Path:
    run_here(*SHORT, "run=x")
    return Path("runs/x")


def test_checkpoint_on_its_own_validation_set(trained: Path) -> None:
    status, output = run(trained, "--out", "found.json")
    assert status == 0, output
    found = records(Path("found.json"))
    for name in (
        "l1",
        "psnr",
        "ssim",
        "fd_random0",
        "recall_random0",
        "swd",
        "spectrum",
        "histogram",
        "diversity",
    ):
        record = found["validation", name]
        assert record["n"] == 64
        assert record["problem"] == ""
        assert f" {name} " in output
        if name not in ("l1", "psnr", "ssim"):
            assert record["null_n"] == 64, "as many training images"
    about = found["validation", "fd_random0"]
    assert (about["ema"], about["precision"], about["extractor_batch"], about["extractor"]) == (
        True,
        "fp32",
        32,
        "random0",
    )
    assert about["test_time"] == {"dropout": False, "batch_statistics": False}
    assert "torch" in about["versions"]  # type: ignore[operator]
    assert about["checkpoint"] == "runs/x/checkpoints/000000016"


def test_training_and_its_written_images_are_one() -> None:
    """In memory the fakes are rounded as PNG rounds them."""
    metrics = "l1,l2,psnr,psnr_y,psnr_pooled,ssim,fd_random0,swd,spectrum,histogram"
    run_here(*SHORT, "run=x", f"evaluate.metrics=[{metrics}]")
    row = json.loads(Path("runs/x/metrics.jsonl").read_text().splitlines()[-1])
    for part in ("source", "real"):
        Path(part).mkdir()
    for i in range(12):
        ids, photograph, _ = draw(i, 32, 32, seed=1)
        Image.fromarray(ids).save(f"source/{i:03d}.png")
        Image.fromarray(photograph).save(f"real/{i:03d}.png")
    words = ["translate", "runs/x", "source", "--out", "fake", "--device", "cpu"]
    assert CliRunner().invoke(app.app, words).exit_code == 0
    assert (
        run("--real", "real", "--fake", "fake", "--metrics", metrics, "--out", "files.json")[0] == 0
    )
    for (_, name), record in records(Path("files.json")).items():
        # Another batch may round a pixel to the other side.
        assert record["value"] == pytest.approx(row[f"val_{name}"], rel=1e-3), name
    assert (
        run("--real", "real", "--fake", "real", "--metrics", "l1,fd_random0", "--out", "same.json")[
            0
        ]
        == 0
    )
    assert [r["value"] for r in records(Path("same.json")).values()] == pytest.approx(
        [0, 0], abs=1e-9
    )


@pytest.mark.slow
def test_several_named_test_sets(trained: Path) -> None:
    drawn = next(
        Path(os.environ["GANTRAIN_CACHE"]).glob("synthetic-*/validation-label10-photo-32x32")
    )
    words = (
        "--data",
        f"a={drawn}",
        "--data",
        f"b={drawn}",
        "--metrics",
        "l1,swd",
        "--out",
        "found.json",
    )
    status, output = run(trained, *words)
    assert status == 0, output
    found = records(Path("found.json"))
    assert {key for key, _ in found} == {"a", "b"}
    assert found["a", "l1"]["value"] == found["b", "l1"]["value"]


def test_sets_are_all_found_before_one_is_measured(trained: Path) -> None:
    words = ("--data", "a=here", "--data", "b=there", "--metrics", "l1", "--out", "found.json")
    status, output = run(trained, *words)
    assert status == 2
    assert "--data a: no folder here" in output
    assert "--data b: no folder there" in output


@pytest.mark.slow
def test_what_the_recipe_says_holds_unless_it_is_changed() -> None:
    for seed in (0, 1):
        save_file(Segmenter(3, 10).state_dict(), f"unet{seed}.safetensors")
    run_here(
        *SHORT, "run=x", "evaluate.crop_border=4", "evaluate.weights={unet: unet0.safetensors}"
    )
    drawn = next(
        Path(os.environ["GANTRAIN_CACHE"]).glob("synthetic-*/validation-label10-photo-32x32")
    )
    for border in (None, 0):
        more = [] if border is None else ["--crop-border", border]
        words = (
            "runs/x",
            "--metrics",
            "l1,miou_unet",
            "--data",
            drawn,
            "--out",
            "found.json",
            *more,
        )
        assert run(*words)[0] == 0  # the segmenter's weights are the recipe's
        (record, _) = records(Path("found.json")).values()
        assert record["crop_border"] == (4 if border is None else 0)
        assert record["size"] == [32, 32]


def test_grey_images_have_the_luma_that_they_are() -> None:
    for name, bright in (("real", 255), ("fake", 128)):
        Path(name).mkdir()
        for i in range(2):
            grey = np.random.default_rng(i).integers(0, bright, (24, 24), dtype=np.uint8)
            Image.fromarray(grey).save(f"{name}/{i}.png")
    assert (
        run("--real", "real", "--fake", "fake", "--metrics", "psnr,psnr_y", "--out", "found.json")[
            0
        ]
        == 0
    )
    found = records(Path("found.json"))
    assert found["fake", "psnr_y"]["value"] == found["fake", "psnr"]["value"]
    Image.open("fake/0.png").convert("RGB").save("fake/0.png")  # beside grey
    assert (
        run("--real", "real", "--fake", "fake", "--metrics", "psnr", "--out", "mixed.json")[0] == 0
    )
    assert records(Path("mixed.json"))["fake", "psnr"]["value"] == found["fake", "psnr"]["value"]


def test_sets_of_other_sizes_and_one_error_of_all_pixels() -> None:
    real, fake = folder("real", range(4)), folder("fake", range(4), sides=(64, 48))
    assert run("--real", real, "--fake", fake, "--metrics", "fd_random0,swd")[0] == 0
    for name in ("one", "other"):
        Path(name).mkdir()
        for i, side in enumerate((16, 64)):
            value = i * 60 if name == "other" else 0
            Image.fromarray(np.full((side, side), value, np.uint8)).save(f"{name}/{i}.png")
    assert (
        run("--real", "one", "--fake", "other", "--metrics", "psnr_pooled", "--out", "found.json")[
            0
        ]
        == 0
    )
    error = (60 / 127.5) ** 2 * 64**2 / (64**2 + 16**2)
    expected = 10 * np.log10(4 / error)
    assert records(Path("found.json"))["other", "psnr_pooled"]["value"] == pytest.approx(expected)


def test_folders_need_not_be_pairs() -> None:
    real, fake = folder("real", range(8)), folder("fake", range(8, 13), names="x{}")
    status, output = run("--real", real, "--fake", fake, "--out", "found.json")
    assert status == 0, output
    found = records(Path("found.json"))
    assert "l1" not in {name for _, name in found}
    assert {r["n"] for r in found.values()} == {5}
    assert run("--real", real, "--fake", fake, "--metrics", "l1,swd")[0] == 2


@pytest.mark.parametrize("kind", ["npy", "png"])
def test_folders_of_other_depths_and_turned_photographs(kind: str) -> None:
    """Sixteen bits count as they are, grey is grey, and EXIF turns an image before it is compared."""
    random = np.random.default_rng(3)
    for name, bright in (("real", 1.0), ("fake", 0.5)):
        Path(name).mkdir()
        for i in range(3):
            deep = (np.random.default_rng(i).integers(0, 65536, (24, 24, 1)) * bright).astype(
                np.uint16
            )
            Path(name, f"{i}.{kind}").write_bytes(encode(deep, kind))
    status, output = run(
        "--real", "real", "--fake", "fake", "--metrics", "l1,histogram", "--out", "deep.json"
    )
    assert status == 0, output
    real = np.stack([np.random.default_rng(i).integers(0, 65536, (24, 24)) for i in range(3)])
    difference = np.abs(real - (real * 0.5).astype(np.uint16)).mean() / 32767.5
    assert records(Path("deep.json"))["fake", "l1"]["value"] == pytest.approx(difference, rel=1e-9)
    picture = Image.fromarray(random.integers(0, 256, (24, 40, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    for name in ("as_shot", "upright"):
        Path(name).mkdir()
    picture.save("as_shot/a.png", exif=turned)
    picture.rotate(180).save("upright/a.png")
    assert (
        run("--real", "as_shot", "--fake", "upright", "--metrics", "l1", "--out", "turned.json")[0]
        == 0
    )
    assert records(Path("turned.json"))["upright", "l1"]["value"] == 0


def test_records_tell_what_was_measured_and_how(trained: Path) -> None:
    words = ("--metrics", "l1", "--crop-border", "2", "--out", "found.json")
    assert run(trained, *words)[0] == 0
    (record,) = records(Path("found.json")).values()
    assert record["crop_border"] == 2
    assert len(str(record["content"])) == 64
    assert "torch_fidelity" in record["versions"]  # type: ignore[operator]


def test_what_is_known_of_a_folder_goes_with_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = (
        folder("real", range(20, 28)),
        folder("fake", range(8, 13), names="x{}"),
    )  # no other test's
    described: list[int] = []
    network = RandomNetwork.forward
    monkeypatch.setattr(
        RandomNetwork, "forward", lambda self, x: described.append(len(x)) or network(self, x)
    )

    def value() -> object:
        described.clear()
        words = ("--real", real, "--fake", fake, "--metrics", "fd_random0", "--out", "found.json")
        assert run(*words)[0] == 0
        return records(Path("found.json"))["fake", "fd_random0"]["value"]

    first = value()
    assert len(described) == 2
    assert value() == first
    assert len(described) == 1, "the real ones were described again"
    Image.fromarray(draw(99, 32, 48, seed=7)[1]).save(real / "003.png")
    assert value() != first, "a stale reference"
    assert len(described) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give a checkpoint [--data FOLDER], or --real FOLDER and --fake FOLDER"),
        (["--real", "real"], "give a checkpoint"),
        (["nothing"], "checkpoint: found none at nothing"),
        (["--real", "real", "--fake", "none"], "--fake: no file or folder none"),
        (
            ["--real", "real", "--fake", "real", "--metrics", "fdi"],
            "gantrain: --metrics: found 'fdi', allowed: l1, l2",
        ),
        (
            ["--real", "real", "--fake", "other", "--metrics", "l1"],
            "--metrics: l1 need pairs, files of one name in both folders; 000 is",
        ),
        (
            ["--real", "real", "--fake", "small"],
            "have sizes 32x48 and 16x48; give pairs of one size",
        ),
        (
            ["--real", "real", "--fake", "real", "--weights", "x"],
            "--weights: found 'x', allowed: NAME=VALUE",
        ),
        (
            ["--real", "real", "--fake", "real", "--weights", "incepton=x"],
            "another network's name, not incepton",
        ),
        (["--real", "real", "--fake", "broken"], "broken/000.png: cannot be read"),
        (["--real", "real", "--fake", "bands"], "bands/000.npy: has 5 channels, allowed: 1 or 3"),
        (
            ["--real", "real", "--fake", "twice"],
            "--fake: twice/000.jpg and twice/000.png have one name",
        ),
        (
            ["run", "--data", "a/val", "--data", "b/val"],
            "--data: found one name twice in val=a/val, val=b/val",
        ),
        (["--real", "real", "--fake", "real", "--out", "no/x.json"], "--out: no folder no"),
        (["--real", "real", "--fake", "real", "--out", "real"], "--out: real cannot be written"),
        (
            ["--real", "real", "--fake", "real", "--metrics", ","],
            "gantrain: --metrics: found '', allowed: l1",
        ),
        (
            ["--real", "real", "--fake", "real", "--metrics", "swd,copy_index"],
            "copy_index need a model",
        ),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder("real", range(3))
    folder("other", range(3), names="x{}")
    folder("small", range(3), sides=(16, 48))
    Path("bands").mkdir()
    for number in range(3):
        Path(f"bands/{number:03}.npy").write_bytes(encode(np.zeros((32, 48, 5), np.uint8), "npy"))
    Image.new("RGB", (48, 32)).save(folder("twice", range(3)) / "000.jpg")
    for file in folder("broken", range(3)).iterdir():
        file.write_bytes(file.read_bytes()[:60])
    status, output = run(*words)
    assert status == 2, output
    said = output + capsys.readouterr().err
    assert says in said
    assert said.count("gantrain: ") == 1 or says.startswith("give a checkpoint"), "one mistake"
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
def test_ranks_find_what_one_process_finds(trained: Path) -> None:
    save_file(Segmenter(3, 10).state_dict(), "unet.safetensors")
    metrics = [*evaluate_options.STANDARD, "l1", "psnr", "ssim", *SEGMENTATION]
    for ranks in (1, 3):
        words = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={ranks}",
        ]
        words += [
            "-m",
            "gantrain",
            "evaluate",
            str(trained),
            "--device",
            "cpu",
            "--out",
            f"{ranks}.json",
        ]
        words += ["--metrics", ",".join(metrics), "--weights", "unet=unet.safetensors"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("fd_random0") == 1
    one = records(Path("1.json"))
    assert {name for _, name in one} == {*metrics}
    for key, record in records(Path("3.json")).items():
        assert record["value"] == pytest.approx(one[key]["value"], rel=1e-6), key
        assert (record["n"], record["null_n"]) == (one[key]["n"], one[key]["null_n"])


@pytest.mark.slow
def test_what_one_rank_finds_is_told_in_one_line() -> None:
    folder("real", range(4))
    damaged = folder("fake", range(4)) / "001.png"  # the second rank's
    damaged.write_bytes(damaged.read_bytes()[:60])
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "gantrain",
    ]
    words += ["evaluate", "--real", "real", "--fake", "fake", "--device", "cpu", "--metrics", "l1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("\ngantrain: fake/001.png: cannot be read") == 1


@pytest.mark.slow
def test_a_run_without_held_out_data_needs_some(
    trained: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drawn,) = cache.glob("synthetic-*/train-label10-photo-32x32")
    run_here(*SHORT, "run=bare", f"data.train={drawn}", "data.validation=null", "checkpoint.best=0")
    status, output = run("runs/bare", "--metrics", "l1")
    assert status == 2
    assert (
        "--data: the model's recipe has no held-out data; give --data FOLDER"
        in output + capsys.readouterr().err
    )
    status, output = run(
        "runs/bare", "--metrics", "l1,swd", "--data", drawn, "--out", "of_training.json"
    )
    assert status == 0
    assert f"{drawn.name}: these are the images of the training set" in output
    swd = records(Path("of_training.json"))[drawn.name, "swd"]
    assert isinstance(swd["null"], float)
    assert swd["null"] > 1
    assert swd["null_n"] == 200, "of 400: one half against the other"


@pytest.mark.slow
def test_metrics_leave_the_training_as_it_is_and_choose_the_best() -> None:
    words = (
        *SMALL,
        "batch_size=8",
        "length=48",
        "evaluate.every=16",
        "checkpoint.every=48",
        "evaluate.max_samples=8",
    )
    run_here(*words, "run=plain", "checkpoint.best=0")
    asked = ("evaluate.metrics=[l1,fd_random0,recall_random0,swd]", "evaluate.best_by=fd_random0")
    run_here(*words, *asked, "run=measured", "checkpoint.keep=1")
    assert_identical(tensors("plain", 48), tensors("measured", 48))
    rows = [
        json.loads(line) for line in Path("runs/measured/metrics.jsonl").read_text().splitlines()
    ]
    found = {row["images_seen"]: row["val_fd_random0"] for row in rows if "val_fd_random0" in row}
    assert len(found) == 3
    assert all(np.isfinite(row["val_fd_random0_null"]) for row in rows if "val_fd_random0" in row)
    kept = {int(path.name) for path in Path("runs/measured/checkpoints").iterdir()}
    assert kept == {48, min(found, key=found.__getitem__)}


def test_best_by_is_one_of_the_metrics() -> None:
    with pytest.raises(
        ValueError, match=r"evaluate.best_by: found 'swd', allowed: l1 \(evaluate.metrics\)"
    ):
        run_here(*SMALL, "evaluate.metrics=[l1]", "evaluate.best_by=swd")


def test_advice_is_the_commands_own(trained: Path) -> None:
    """An error about a test set names no key of a recipe, and what it advises can be given as it
    stands.
    """
    for name in range(10):
        for field, width in (("label", 16), ("photo", 16 if name == 0 else 17)):
            path = Path("uneven", field, f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                encode(np.zeros((16, width, 1 if field == "label" else 3), np.uint8), "png")
            )
    status, output = run(trained, "--data", "uneven", "--metrics", "l1")
    assert status == 2
    assert "9 of 10 pairs left out" in output
    assert "`gantrain prepare" in output
    assert "data.max_left_out" not in output
    assert "=null" not in run(trained, "--data", "nowhere", "--metrics", "l1")[1]
