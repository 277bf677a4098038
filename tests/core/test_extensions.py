"""`--import`: a user's own modules on every command, and the names that a checkpoint records."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import ROOT, SMALL, launch
from own_code import PRELUDE, forgotten, write
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.cli.train_command import train_main
from gantrain.core import extensions
from gantrain.data.synthetic import draw

SHORT = ("batch_size=4", "length=4", "evaluate.metrics=[l1]", "evaluate.max_samples=4", "run=x")
RUN = ("recipe=quickstart", *SMALL[:2], *SMALL[5:], *SHORT)
COMMANDS = sorted(name for name in typer.main.get_command(app).commands)
NETWORK = """
from torch import nn

from gantrain import NETWORKS


class Net(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


NETWORKS["net"] = Net
"""
STATE = Path("runs/x/checkpoints/000000004/state.json")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with forgotten():
        yield


def line_of(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.strip()]
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_option(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--import" in result.output


# By name: the module's code, and what the line says of it.
BROKEN = {
    "syntax": ("x = 1\ndef f(:\n", "--import: 'broken' raised SyntaxError: invalid syntax (broken.py, line 2)"),
    "a name": ("\nx = zz\n", "'broken' raised NameError: name 'zz' is not defined (broken.py, line 2); correct it"),
    "an import": ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all' (broken.py"),
    "deep in a library": ("import json\n\njson.loads('x')\n", "raised JSONDecodeError: Expecting value: line 1"),
    "an exit": ("import sys\nsys.exit(3)\n", "'broken' raised SystemExit: 3 (broken.py, line 2)"),
    "a run": (
        "import gantrain\ngantrain.train('quickstart')\n",
        "train() was called while --import imported broken; put the call below `if __name__ == '__main__':` (broken.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", ["train", "recipes"])
def test_errors_inside_the_module_are_one_line(
    name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, says = BROKEN[name]
    write("broken", code)
    if command == "train":
        assert train_main([*RUN, "--import", "broken"]) == 2
        text = capsys.readouterr().err
    else:
        result = CliRunner().invoke(app, ["recipes", "--import", "broken"])
        assert result.exit_code == 2
        text = result.output
    assert says in line_of(text)
    assert "Traceback" not in text
    if name == "deep in a library":
        assert "(broken.py, line 3)" in text
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none", "there is no module 'none'"),
        ("net.py", "give --import net"),
        ("a/net.py", "give PYTHONPATH=a and"),
    ],
)
def test_what_is_no_module_is_refused(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("net", NETWORK)
    assert train_main([*RUN, f"--import={name}"]) == 2
    assert says in line_of(capsys.readouterr().err)
    assert "net" not in sys.modules


@pytest.fixture
def trained() -> None:
    """A run with the network of net.py and, beside it, an unused module; both are then forgotten."""
    write("net", NETWORK)
    write("beside", "")
    with forgotten():
        assert train_main([*RUN, "--import", "net", "--import=beside", "method.generator=net"]) == 0


WORDS = {
    "translate": ["translate", "runs/x", "0.png", "--out", "out"],
    "evaluate": ["evaluate", "runs/x", "--metrics", "l1"],
    "train": ["train", *RUN, "method.generator=net", "length=8"],
    "doctor": ["doctor", *RUN, "method.generator=net"],
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_a_command_without_the_modules_says_which(
    name: str, trained: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(STATE.read_text())["modules"] == ["net", "beside"]
    Image.fromarray(draw(0, 32, 32, seed=9)[0]).save("0.png")
    capfd.readouterr()
    result = CliRunner().invoke(app, WORDS[name])
    text = result.output + "".join(capfd.readouterr())
    assert result.exit_code == (1 if name == "doctor" else 2), text
    (line,) = [line for line in text.splitlines() if "--import" in line]
    assert (
        "000000004 was made with the modules net, beside, which this process has not imported"
        in line
    )
    assert (
        "add --import net --import beside to the command (in Python: `import net; import beside` first)"
        in line
    )
    assert "Traceback" not in text
    if name != "doctor":
        result = CliRunner().invoke(app, [*WORDS[name], "--import", "net", "--import", "beside"])
        assert result.exit_code == 0, result.output


def test_python_says_which_module_to_import(trained: None) -> None:
    with pytest.raises(ValueError, match="in Python: `import net; import beside` first"):
        gantrain.load("runs/x", "cpu")
    extensions.import_modules(["net", "beside"])
    assert gantrain.load("runs/x", "cpu").translate(draw(0, 32, 32, seed=9)[0]).shape == (32, 32, 3)


def test_an_own_class_under_a_known_name_is_not_replaced_silently(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`NETWORKS["unet"]` of another module: without it the recipe is valid, and means another
    network.
    """
    imports = "from gantrain import NETWORKS\nfrom gantrain.networks import UNet\n"
    write("net", f"{imports}class Net(UNet):\n    pass\nNETWORKS['unet'] = Net\n")
    words = [*RUN, *SMALL[2:5]]
    with forgotten():
        assert train_main([*words, "--import", "net"]) == 0
    capsys.readouterr()
    assert train_main([*words, "length=8"]) == 2
    assert "add --import net to the command" in capsys.readouterr().err


def test_a_name_that_is_nowhere_offers_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_main([*RUN, "method.generator=net"]) == 2
    line = line_of(capsys.readouterr().err)
    assert "method.generator: found {'name': 'net'}, allowed: unet" in line
    assert "an own one needs --import MODULE" in line


def test_gantrains_own_classes_need_no_module() -> None:
    assert train_main([*RUN, *SMALL[2:5]]) == 0
    assert json.loads(STATE.read_text())["modules"] == []


NOTEBOOK = f"""
{PRELUDE}
import gantrain
gantrain.train("quickstart", "method=mine", *{RUN[1:]!r})
print(gantrain.load("runs/x", "cpu"))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_scripts_classes_are_found_by_its_name() -> None:
    guarded = f"{PRELUDE}\nimport gantrain\nif __name__ == '__main__':\n"
    write("script", f'{guarded}    gantrain.train("quickstart", "method=mine", *{RUN[1:]!r})\n')
    for _ in range(2):  # the second call goes on, and finds its own classes
        done = python("script.py")
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(STATE.read_text())["modules"] == ["script"]
    with pytest.raises(ValueError, match="add --import script to the command"):
        gantrain.load("runs/x", "cpu")
    extensions.import_modules(["script"])
    gantrain.load("runs/x", "cpu")


@pytest.mark.slow
def test_a_notebooks_classes_are_said_to_stay_there() -> None:
    """`python -c` has no file either."""
    done = python("-c", NOTEBOOK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: the recipe uses classes that were defined in a notebook" in done.stdout
    assert "Translator(mine from" in done.stdout
    with pytest.raises(
        ValueError, match=r"put them into a file, such as mine\.py, and give --import mine"
    ):
        gantrain.load("runs/x", "cpu")
    write("mine", PRELUDE)
    extensions.import_modules(["mine"])
    assert np.asarray(
        gantrain.load("runs/x", "cpu").translate(draw(0, 32, 32, seed=9)[0])
    ).shape == (32, 32, 3)


@pytest.mark.exhaustive
def test_ranks_import_the_module_too() -> None:
    write("net", NETWORK)
    words = (*RUN[1:], "--import", "net", "method.generator=net")
    launch(2, *words)
    assert json.loads(STATE.read_text())["modules"] == ["net"]
    write("net", "1 / 0\n")
    script = str(ROOT / "gantrain" / "train.py")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = python(*launcher, script, *RUN, "--import", "net")
    assert done.returncode != 0
    assert (
        done.stderr.count("'net' raised ZeroDivisionError: division by zero (net.py, line 1)") >= 1
    )


# By name: the body of `degrade`, and what the line says of it.
BROKEN_DEGRADATIONS = {
    "smaller": ("return Degraded(image[::2])", "gives float32 of shape (16, 32, 3), allowed: float32 of shape (32, 32, 3)"),
    "an array": ("return image", "gives ndarray, allowed: gantrain.Degraded(IMAGE)"),
    "an error": ("raise ValueError('no light')", "fails: ValueError: no light (dark.py, line 8)"),
    "too bright": ("return Degraded(image * 4)", "gives values outside 0..1, allowed: 0 to 1; clip them"),
    "no mask": ("return Degraded(image)", "gives NoneType as its mask, allowed: float32 of shape (32, 32, 1)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_DEGRADATIONS)
def test_a_broken_degradation_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    body, says = BROKEN_DEGRADATIONS[name]
    code = f"""
from gantrain import DEGRADATIONS, Degradation, Degraded

class Dark(Degradation):
    gives_mask = {name == "no mask"}

    def degrade(self, image, random):
        {body}

DEGRADATIONS["dark"] = Dark
"""
    write("dark", code)
    keys = (
        "data=synthetic",
        "data.labels={}",
        "data.target=image",
        "data.resize=null",
        "data.degrade=dark",
    )
    assert train_main(["recipe=quickstart", *SMALL, *SHORT, *keys, "--import", "dark"]) == 2
    line = line_of(capsys.readouterr().err)
    assert "data.degrade: Dark.degrade " in line
    assert says in line
    assert not Path("runs").exists()
