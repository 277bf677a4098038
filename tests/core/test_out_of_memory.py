"""Too little memory for an image: it is named in one line with its size and the remedy, and the
others are made.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, run_here
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from gantrain import load
from gantrain.cli.app import app
from gantrain.core.out_of_memory import (
    OutOfMemory,
    describe_request,
    is_out_of_memory,
    naming_too_large,
)
from gantrain.data.decode import encode
from gantrain.inference.file_translation import FileTranslation
from gantrain.inference.source_reader import SourceReader
from gantrain.inference.translate_files import translate_files
from gantrain.inference.translator import Translator
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.training.trainer import RunStopped

CPU_TEXT = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "1610612736 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA_TEXT = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.00 GiB"
NUMPY_TEXT = (
    "Unable to allocate 1.5 GiB for an array with shape (16384, 16384, 3) and data type float32"
)
TRAINING = (
    *SMALL, "batch_size=8", "length=8", "data.labels={}", "data.source=photo", "data.target=label",
    "evaluate.every=8", "previews.every=8", "evaluate.max_samples=10",
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "is_memory", "request_text"),
    [
        (RuntimeError(CPU_TEXT), True, " (1.5 GiB were requested)"),
        (torch.OutOfMemoryError(CUDA_TEXT), True, " (1.5 GiB were requested)"),
        (MemoryError(NUMPY_TEXT), True, " (1.5 GiB were requested)"),
        (MemoryError(), True, ""),
        (RuntimeError("CUDA error: out of memory"), True, ""),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True, ""),
        (RuntimeError("could not create a memory object"), True, ""),
        (OutOfMemory("an image"), True, ""),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, ""),
        (ValueError("out of memory"), False, ""),
        (KeyError("DefaultCPUAllocator"), False, ""),
    ],
)
def test_failures_are_recognised(error: Exception, is_memory: bool, request_text: str) -> None:
    assert is_out_of_memory(error) is is_memory
    assert describe_request(error) == request_text


def test_only_failures_of_memory_are_renamed() -> None:
    cpu = torch.device("cpu")
    says = r"^0\.png \(4x4\): out of memory on cpu \(1\.5 GiB were requested\); do it$"
    with pytest.raises(OutOfMemory, match=says), naming_too_large("0.png (4x4)", cpu, "do it"):
        raise RuntimeError(CPU_TEXT)
    with pytest.raises(RuntimeError, match="shapes"), naming_too_large("0.png", cpu, "do it"):
        raise RuntimeError("shapes")


def test_the_frames_of_a_failure_hold_no_tensors() -> None:
    """Their memory is needed for the next image."""
    kept: list[Any] = []

    def fail() -> None:
        tensor = torch.zeros(3)
        kept.append(tensor.untyped_storage()._weak_ref())
        raise RuntimeError(CPU_TEXT)

    with pytest.raises(OutOfMemory), naming_too_large("0.png", torch.device("cpu"), "do it"):
        fail()
    assert torch.UntypedStorage._expired(kept[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("model"))
        patch.setenv("GANTRAIN_CACHE", str(cache))
        run_here(*TRAINING, "run=x")
        return Path("runs/x").absolute()


class Small(Translator):
    """A model on a device that has memory for so many pixels at once."""

    pixels = 32 * 32

    def translate_arrays(self, samples: list[Any]) -> list[np.ndarray]:
        if (
            sum(sample["source"].shape[0] * sample["source"].shape[1] for sample in samples)
            > self.pixels
        ):
            raise torch.OutOfMemoryError(CUDA_TEXT)
        return super().translate_arrays(samples)


@pytest.fixture
def model(run: Path) -> Translator:
    model = load(run, "cpu")
    model.__class__ = Small
    return model


def write_inputs(*sizes: tuple[int, int]) -> None:
    Path("in").mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        array = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Path(f"in/{number}.png").write_bytes(encode(array, "png"))


def test_the_file_is_named_and_the_others_are_made(
    model: Translator, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs((16, 16), (64, 48), (32, 32), (32, 32))
    done = translate_files(model, [Path("in")], Path("out"), 8).results
    said = capsys.readouterr().out
    assert [path.name for path in done] == ["0.png", "2.png", "3.png"]
    advice = "translate it alone with a smaller --size HEIGHTxWIDTH"
    assert (
        f"left out: in/1.png (64x48): out of memory on cpu (1.5 GiB were requested); {advice}\n"
        in said
    )
    assert "2 images of 32x32 at once: out of memory on cpu" in said
    assert "they are translated one at a time" in said
    assert said.endswith("3 images in out, 1 left out\n")
    # With more memory, the same command makes the one that is missing.
    translate_files(load(run, "cpu"), [Path("in")], Path("out"), 8)
    said = capsys.readouterr().out
    assert "skipped: 3 of 4 results are in out already" in said
    assert said.endswith("4 images in out\n")


def test_a_smaller_size_makes_the_file_alone(
    model: Translator, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the line advises."""
    write_inputs((16, 16), (64, 48))
    translate_files(model, [Path("in")], Path("out"), 8)
    translate_files(model, [Path("in/1.png")], Path("out"), 8, None, (32, 24))
    with Image.open("out/1.png") as image:
        assert image.size == (48, 64)


def test_nothing_fits(model: Translator) -> None:
    write_inputs((64, 48))
    with pytest.raises(
        ValueError,
        match=r"none of 1 files could be translated; the first: in/0.png \(64x48\): out of",
    ):
        translate_files(model, [Path("in")], Path("out"), 8)
    assert not Path("out").exists()


def test_a_size_that_does_not_fit_several_times_is_tried_once(
    model: Translator, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs((32, 32), (32, 32), (16, 16), (32, 32), (32, 32), (32, 32))
    assert len(translate_files(model, [Path("in")], Path("out"), 2).results) == 6
    assert capsys.readouterr().out.count("one at a time") == 1


def test_files_that_are_too_large_to_read(
    model: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs((16, 16), (16, 16))
    read = SourceReader.read

    def refuse(self: SourceReader, path: Path, *arguments: Any) -> Any:
        if path.name == "1.png":
            raise MemoryError(NUMPY_TEXT)
        return read(self, path, *arguments)

    monkeypatch.setattr(SourceReader, "read", refuse)
    done = translate_files(model, [Path("in")], Path("out"), 1).results
    assert [path.name for path in done] == ["0.png"]


def test_python_gets_a_clear_exception(model: Translator) -> None:
    image = np.zeros((64, 48, 3), np.uint8)
    with pytest.raises(OutOfMemory) as caught:
        model.translate(image)
    says = "image of 64x48: out of memory on cpu (1.5 GiB were requested); give a smaller image, or a smaller size="
    assert str(caught.value) == f"{says}(height, width)"
    assert model.translate(image, size=(32, 24)).shape == (64, 48, 3)


@pytest.mark.slow
def test_a_process_with_little_memory(run: Path) -> None:
    """A real limit, on all that the process may address."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from gantrain import load
from gantrain.training.trainer import RunStopped
from gantrain.inference.translate_files import translate_files
model = load(sys.argv[1], "cpu")
model.translate(np.zeros((64, 64, 3), np.uint8))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 400 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
translate_files(model, [Path("in")], Path("out"), 2)
try:
    model.translate(np.zeros((4096, 4096, 3), np.uint8))
except ValueError as error:
    print(type(error).__name__, error)
"""
    if sys.platform != "linux":
        pytest.skip("limits of memory are Linux's")
    write_inputs((64, 64), (4096, 4096), (64, 64))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "500"}
    arguments = [sys.executable, "-c", code, str(run)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("left out: in/1.png")]
    assert "out of memory" in line
    assert "2 images in out, 1 left out" in done.stdout
    assert "OutOfMemory image of 4096x4096: out of memory on cpu" in done.stdout
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["0.png", "2.png"]


def limit_batches(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Let memory last for so many images at once in evaluation."""
    translate = Pix2Pix.translate

    def limited(self: Pix2Pix, batch: dict[str, Tensor]) -> Tensor:
        if not torch.is_grad_enabled() and len(batch["source"]) > images:
            raise RuntimeError(CPU_TEXT)
        return translate(self, batch)

    monkeypatch.setattr(Pix2Pix, "translate", limited)


def evaluate(run: Path) -> tuple[int, str]:
    words = ["evaluate", str(run), "--metrics", "l1,psnr", "--device", "cpu"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "500"})
    return result.exit_code, result.output


@pytest.mark.slow
def test_evaluate_goes_on_with_single_images_and_names_the_sample(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, expected = evaluate(run)
    assert status == 0, expected
    with monkeypatch.context() as patch:
        limit_batches(patch, 1)
        assert evaluate(run) == (0, expected)
    limit_batches(monkeypatch, 0)
    status, said = evaluate(run)
    assert status == 2
    (line,) = [line for line in said.splitlines() if "out of memory" in line]
    assert line.startswith("gantrain: sample ")
    assert (
        "(32x32): out of memory on cpu (1.5 GiB were requested); a smaller data.size needs less"
        in line
    )


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (
            "training.step.Engine.step",
            "out of memory with 8 images per backward pass; try micro_batch_size=4",
        ),
        (
            "evaluation.held_out.HeldOut._measure",
            r"evaluate: out of memory on cpu .*; fewer or other evaluate\.metrics",
        ),
    ],
)
def test_training_ends_in_one_line(place: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError(CPU_TEXT)

    monkeypatch.setattr(f"gantrain.{place}", fail)
    with pytest.raises(RunStopped, match=f"^{says}"):
        run_here(*TRAINING, "run=y")
    assert '"state": "failed"' in Path("runs/y/status.json").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "words", [("translate", "in", "--out", "out"), ("evaluate",)], ids=lambda words: words[0]
)
def test_cuda_without_a_gpu_is_one_line(words: tuple[str, ...], run: Path) -> None:
    write_inputs((16, 16))
    result = CliRunner().invoke(
        app, [words[0], str(run), *words[1:], "--device", "cuda"], env={"COLUMNS": "500"}
    )
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line]
    assert line.startswith("gantrain: device: found ")
    assert "cuda" in line
    assert "but PyTorch sees no GPU; allowed here: " in line
    assert not Path("out").exists()


def test_a_sample_that_is_too_large_to_decode_is_not_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A damaged one would be replaced by another, and the run would go on with other data."""

    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError(NUMPY_TEXT)

    for workers in (0, 1):
        with monkeypatch.context() as patch:
            patch.setattr("gantrain.data.decode.pixels", fail)
            with pytest.raises(
                RunStopped, match=r"out of memory to decode its 32x32 pixels \(1\.5 GiB"
            ) as caught:
                run_here(
                    *TRAINING, f"run=z{workers}", "data.validation=null", f"data.workers={workers}"
                )
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_checkpoint_that_is_too_large_is_not_damaged(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError(CPU_TEXT)

    monkeypatch.setattr("gantrain.runs.checkpoint.load_file", fail)
    with pytest.raises(OutOfMemory) as caught:
        load(run, "cpu")
    says = f"checkpoint: {run}: out of memory on cpu (1.5 GiB were requested); free memory there"
    assert str(caught.value) == f"{says}, or choose another device"


def test_a_gpu_gives_its_cache_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    says = r"0\.png: out of memory on cuda \(1\.5 GiB were requested\); give --device cpu, or translate it alone with"
    device: Any = SimpleNamespace(device=torch.device("cuda"), one_by_one=False)
    advice = FileTranslation(device, 8, None)._advice
    with (
        pytest.raises(OutOfMemory, match=says),
        naming_too_large("0.png", torch.device("cuda"), advice),
    ):
        raise torch.OutOfMemoryError(CUDA_TEXT)
    assert calls == ["emptied"]
