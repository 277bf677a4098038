"""FIFOs, sockets, devices, dangling links and loops of links at every entry: one line, never a
hang.
"""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SMALL, run_here
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.cli.train_command import train_main
from gantrain.core.paths import check_not_special, check_regular_file
from gantrain.data.decode import encode
from gantrain.data.prepare.pack import prepare
from gantrain.inference.translate_files import images_by_stem
from gantrain.inference.translator import Translator

_SECONDS = 20  # a command that opens a FIFO waits without end

Make = Callable[[Path], object]


def unix_socket(path: Path) -> None:
    """A socket's path is short, so that it is bound from inside its folder."""
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


KINDS: dict[str, tuple[Make, str]] = {
    "FIFO": (os.mkfifo, "is a FIFO"),
    "socket": (unix_socket, "is a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "is a dangling link to nowhere"),
    "loop": (lambda path: path.symlink_to(path.name), "is a loop of symbolic links"),
}


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def stop_without_retry(*_: object) -> None:
        pytest.fail(f"it waited for more than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop_without_retry)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", [check_not_special, check_regular_file])
def test_the_checks_name_what_is_there(
    tmp_path: Path, kind: str, check: Callable[[Path, str], object]
) -> None:
    make, says = KINDS[kind]
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=f"^--option: .*x {says}.*; allowed: a regular file"):
        check(tmp_path / "x", "--option")
    (tmp_path / "link").symlink_to("x")
    with pytest.raises(ValueError, match=r"^--option: .*link is a "):
        check(tmp_path / "link", "--option")


def test_the_checks_let_files_pass(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (tmp_path / "link").symlink_to("x")
    for path in (tmp_path, tmp_path / "x", tmp_path / "link", tmp_path / "none"):
        check_not_special(path, "--option")
    assert check_regular_file(tmp_path / "link", "--option") == tmp_path / "link"
    for path, says in ((tmp_path, "is a folder"), (tmp_path / "none", "there is no file")):
        with pytest.raises(ValueError, match=says):
            check_regular_file(path, "--option")


@pytest.mark.parametrize(
    ("path", "says"), [("x" * 400, "out of reach"), ("a\0b", "no path"), ("shut/x", "out of reach")]
)
def test_paths_that_no_system_takes_are_one_line(tmp_path: Path, path: str, says: str) -> None:
    if path.startswith("shut"):
        if os.geteuid() == 0:
            pytest.skip("root may look everywhere")
        (tmp_path / "shut").mkdir(mode=0o000)
    with pytest.raises(ValueError, match=f"^--option: .* is {says} "):
        check_not_special(path, "--option")


# -- every entry
# ------------------------------------------------------------------------------------

PAIRS = (
    "recipe=pix2pix",
    "data.size=[32,32]",
    "data.resize=null",
    "data.validation=null",
    "trackers=[]",
)
QUICK = ("recipe=quickstart", *SMALL, "run=new", "batch_size=2", "length=2")


def image(seed: int = 0) -> bytes:
    return encode(np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8), "png")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with a run of drawn data, a folder of pairs, one of labels, and a packed set."""
    folder = tmp_path_factory.mktemp("world")
    signals = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        run_here(*SMALL, "batch_size=2", "length=2", "run=x", "data.validation=null")
        for name in ("pairs/0.png", "folders/label/0.png", "folders/photo/0.png"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(image())
        prepare("pairs", "packed", layout="pairs", progress=False)
    for number, handler in signals.items():
        signal.signal(number, handler)
    return folder


# The words of a command, and the path that is replaced ("odd" is a new one).
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "data.train": (("train", *PAIRS, "data=odd"), "odd"),
    "data.validation": (("train", *PAIRS, "data=pairs", "data.validation=odd"), "odd"),
    "data.train_target": (("train", "recipe=cyclegan", "data=pairs", "data.train_target=odd", "trackers=[]"), "odd"),
    "tars of a set": (("train", *PAIRS, "data=packed"), "packed/s-000000.tar"),
    "index.json": (("train", *PAIRS, "data=packed"), "packed/index.json"),
    "index.npz": (("train", *PAIRS, "data=packed"), "packed/index.npz"),
    "file URL": (("train", *PAIRS, "data=file://{}/packed"), "packed/index.json"),
    "recipe by path": (("train", "recipe=./odd.yaml"), "odd.yaml"),
    "recipe by name": (("train", "recipe=odd"), "recipes/odd.yaml"),
    "extends": (("train", "recipe=mine.yaml"), "odd.yaml"),
    "init_from": (("train", *QUICK, "init_from=odd"), "odd"),
    "one of init_from": (("train", *QUICK, "init_from=[odd,other]"), "odd"),
    "metric weights": (
        ("evaluate", "--real", "pairs", "--fake", "pairs", "--metrics", "fd_squeezenet", "--weights",
         "squeezenet=odd.pth"),
        "odd.pth",
    ),
    "run's recipe": (("train", *QUICK, "run=x"), "runs/x/recipe.yaml"),
    "run's status": (("train", *QUICK, "run=x"), "runs/x/status.json"),
    "run's metrics": (("train", *QUICK, "run=x"), "runs/x/metrics.jsonl"),
    "run's lock": (("train", *QUICK, "run=x"), "runs/x/.lock"),
    "prepare": (("prepare", "odd", "--out", "new"), "odd"),
    "--colors": (("prepare", "folders", "--out", "new", "--labels", "label", "--colors", "odd.txt"), "odd.txt"),
    "index": (("index", "odd.tar", "--out", "new", "--field", "target=jpg"), "odd.tar"),
    "download": (("download", "facades", "--source", "odd.zip", "--out", "new"), "odd.zip"),
    "import": (("import", "odd.pth", "--out", "new"), "odd.pth"),
    "checkpoint": (("translate", "odd", "pairs", "--out", "new"), "odd"),
    "checkpoint's state": (("translate", "runs/x/checkpoints/000000002", "pairs", "--out", "new"), "{}/state.json"),
    "checkpoint's recipe": (("translate", "runs/x/checkpoints/000000002", "pairs", "--out", "new"), "{}/recipe.yaml"),
    "checkpoint's weights": (
        ("translate", "runs/x/checkpoints/000000002", "pairs", "--out", "new"), "{}/ema/generator.safetensors",
    ),
    "input": (("translate", "runs/x", "odd.png", "--out", "new"), "odd.png"),
    "input folder": (("translate", "runs/x", "odd", "--out", "new"), "odd"),
    "--real": (("evaluate", "--real", "odd", "--fake", "pairs"), "odd"),
    "--fake": (("evaluate", "--real", "pairs", "--fake", "odd"), "odd"),
    "--data": (("evaluate", "runs/x", "--data", "odd"), "odd"),
    "evaluate --out": (("evaluate", "--real", "pairs", "--fake", "pairs", "--out", "odd.json"), "odd.json"),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["FIFO", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "FIFO")],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_entry_refuses_what_is_no_file(
    world: Path, tmp_path: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (command, *words), odd = COMMANDS[name]
    make, says = KINDS[kind]
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine.yaml").write_text("extends: ./odd.yaml")
    path = tmp_path / odd.format("runs/x/checkpoints/000000002")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    words = [word.format(tmp_path) for word in words]
    capsys.readouterr()
    if command == "train":
        status = train_main(words)
        text = capsys.readouterr().err
    else:
        result = CliRunner().invoke(app, [command, *words])
        status, text = result.exit_code, result.output
    assert status == 2, text
    assert "Traceback" not in text
    *before, line = [line for line in text.splitlines() if line.strip()]
    assert f"{path.name} {says}" in line
    assert len(before) == (command == "download"), text  # which says first where images come from


@pytest.mark.parametrize("kind", KINDS)
def test_style_and_instances_refuse_what_is_no_file(tmp_path: Path, kind: str) -> None:
    make, says = KINDS[kind]
    make(tmp_path / "odd")
    with pytest.raises(ValueError, match=f"^--input instances: .*odd {says}"):
        images_by_stem("--input instances", tmp_path / "odd")
    method_of_styles = SimpleNamespace(has_style=True)
    with pytest.raises(ValueError, match=f"^style: .*odd {says}"):
        Translator._encode_style(SimpleNamespace(method=method_of_styles), str(tmp_path / "odd"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "loop"])
def test_what_lies_among_images_is_named_and_left_out(
    world: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = KINDS[kind]
    shutil.copytree(world / "pairs", tmp_path / "in")
    make(tmp_path / "in" / "odd.png")
    text = says.removeprefix("is ")
    report = prepare("in", "out", layout="pairs", progress=False)
    assert (report.samples, len(report.unmatched)) == (1, 1)
    assert f"odd.png: {text}" in report.unmatched[0]
    assert (
        CliRunner()
        .invoke(app, ["translate", str(world / "runs/x"), "in", "--out", "new"])
        .exit_code
        == 2
    )
    result = CliRunner().invoke(
        app, ["evaluate", "--real", "in", "--fake", "in", "--metrics", "l1"]
    )
    assert result.exit_code == 0, result.output
    assert f"odd.png: {text}" in result.output
