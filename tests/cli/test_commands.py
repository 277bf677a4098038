"""The command line around training: help, mistakes in options, recipes, launchers, completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from conftest import RECIPE_NAMES, ROOT

import gantrain
from gantrain.cli.app import app
from gantrain.cli.main import main
from gantrain.cli.shipped_commands import complete_words
from gantrain.cli.shipped_launchers import launchers
from gantrain.cli.shown_recipes import EVERYDAY, everyday_settings
from gantrain.recipe import schema

COMMANDS = sorted(typer.main.get_command(app).commands)


def test_commands_are_many() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), option]) == 0
    assert f"Usage: gantrain {command}".strip() in capsys.readouterr().out


def test_the_command_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: gantrain" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gantrain {gantrain.__version__}\n"


MISTAKES = {
    "recpes": "no such command 'recpes'. Did you mean 'recipes'",
    "--verson": "found --verson, which is no option; did you mean --version?; see gantrain --help",
    "evaluate --metric l1": "evaluate: found --metric, which is no option; did you mean --metrics?",
    "translate runs/x photos --outt y": "translate: found --outt, which is no option; did you mean --out?",
    "translate runs/x photos --xyz y": "translate: found --xyz, which is no option; allowed: --out, --batch-size",
    "translate": "translate: missing argument 'checkpoint'; see gantrain translate --help",
    "translate runs/x photos": "translate: missing option '--out'",
    "translate runs/x photos --out y --batch-size q": "translate: --batch-size: found 'q', allowed: a valid integer",
    "translate runs/x photos --out y --batch-size 0": "translate: --batch-size: found '0', allowed: g",
    "prepare photos --out x --label y": "prepare: found --label, which is no option; did you mean --labels?",
    "recipes show": "recipes show: missing argument 'name'",
    "recipes shw": "recipes: no such command 'shw'",
    "download": "download: missing argument 'name'",
    "train --batch_size 4": "found --batch_size 4, allowed: recipe=NAME a.b.c=value [--import MODULE]; did you mean",
    "train --version": "found --version, allowed: recipe=NAME a.b.c=value [--import MODULE]; did you mean `gantrain",
    "translate --version": "translate: found --version, which is no option; did you mean `gantrain --version`?",
    "doctor lr=3": "found lr=3, allowed: no words, or one recipe=NAME and its keys, as for gantrain train",
    "doctor recipe=cut recipe=pix2pix": "found recipe=cut recipe=pix2pix, allowed: no words, or one recipe=NAME",
    "doctor quick": "found 'quick', allowed: recipe=NAME a.b.c=value; did you mean recipe=quick",
    "bench": "bench: missing argument 'recipe'; see gantrain bench --help",
    "bench pix2pix --step 3": "bench: found --step, which is no option; did you mean --steps?",
    "bench pix2pix lr": "found 'lr', allowed: recipe=NAME a.b.c=value; did you mean optimizer.lr",
    "launchers a b": "launchers: got unexpected extra argument",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_in_the_options_is_one_line(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"gantrain: {MISTAKES[words]}")
    assert captured.out == ""


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_shown_recipe_is_the_recipe(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Saved as a file, it trains the same in a run of its own; every key stands once, most with
    a comment.
    """
    assert main(["recipes", "show", name]) == 0
    text = capsys.readouterr().out
    Path("shown.yaml").write_text(text)
    assert schema.load("shown.yaml").dump() == {**schema.load(name).dump(), "name": "shown"}
    assert text.count("# ") > 40
    assert max(len(line) for line in text.splitlines()) <= 130


def test_changes_are_shown_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "show", "facades", "optimizer.lr=1e-3"]) == 0
    assert "  lr: 0.001  # the learning rate" in capsys.readouterr().out.splitlines()
    assert main(["recipes", "show", "facades", "lr=1e-3"]) == 2
    assert "did you mean optimizer.lr?" in capsys.readouterr().err


def test_the_help_of_train_lists_everyday_settings(capsys: pytest.CaptureFixture[str]) -> None:
    rows = everyday_settings()
    assert [key for key, _, _ in rows] == list(EVERYDAY)
    assert all(meaning and default for _, meaning, default in rows)
    assert (
        "data.size",
        "height and width of the images in training, in pixels",
        "[256, 256]",
    ) in rows
    assert main(["train", "--help"]) == 0
    words = capsys.readouterr().out.split()
    assert set(EVERYDAY) <= set(words)


def test_launchers_are_listed_and_copied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launchers"]) == 0
    listed = capsys.readouterr().out
    assert len(launchers()) >= 8
    for name, purpose in launchers().items():
        assert name in listed
        assert purpose
    assert main(["launchers", "deepspeed_zero2"]) == 0
    config = yaml.safe_load(Path("launchers/accelerate/deepspeed_zero2.yaml").read_text())
    assert Path(config["deepspeed_config"]["deepspeed_config_file"]).is_file()
    assert main(["launchers", "slurm", "--out", "jobs"]) == 0
    assert "begin with jobs/" in capsys.readouterr().out
    assert sorted(path.name for path in Path("jobs/slurm").iterdir()) == [
        "env.sh",
        "evaluate.sbatch",
        "train.sbatch",
    ]
    assert "sbatch jobs/slurm/train.sbatch recipe=" in Path("jobs/slurm/train.sbatch").read_text()


@pytest.mark.parametrize("name", sorted(launchers()))
def test_a_copied_launcher_has_the_files_that_it_names(name: str) -> None:
    assert main(["launchers", name, "--out", "mine"]) == 0
    text = Path("mine", name).read_text()
    if "deepspeed_config_file: " in text:
        assert Path(text.partition("deepspeed_config_file: ")[2].split()[0]).is_file()
    assert ("env.sh" in text) == Path("mine/slurm/env.sh").is_file()
    assert "launchers/" not in text
    assert os.access(Path("mine", name), os.X_OK) == os.access(ROOT / "launchers" / name, os.X_OK)


def test_all_launchers_are_copied_as_they_are() -> None:
    assert main(["launchers", "all"]) == 0
    copies = [path for path in Path("launchers").rglob("*") if path.is_file()]
    assert len(copies) >= 10
    for copy in copies:
        assert copy.read_bytes() == (ROOT / copy).read_bytes()


def test_a_launcher_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("launchers/slurm").mkdir(parents=True)
    Path("launchers/slurm/env.sh").write_text("module load mine")
    assert main(["launchers", "train"]) == 2
    assert (
        "launchers/slurm/env.sh exist already; give another --out, or --overwrite"
        in capsys.readouterr().err
    )
    assert not Path("launchers/slurm/train.sbatch").exists()
    assert Path("launchers/slurm/env.sh").read_text() == "module load mine"
    assert main(["launchers", "train", "--overwrite"]) == 0
    assert Path("launchers/slurm/env.sh").read_text() != "module load mine"
    assert main(["launchers", "trian"]) == 2
    assert "found 'trian', did you mean train?" in capsys.readouterr().err


def test_names_of_recipes_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMP_WORDS", raising=False)
    assert complete_words("recipe=fac") == [
        "recipe=facades",
        "recipe=facades_paper",
        "recipe=facades_rpgan",
    ]
    assert len(complete_words("rec")) == len(RECIPE_NAMES)
    assert complete_words("data=") == []
    monkeypatch.setenv("COMP_WORDS", "gantrain train recipe = fac")  # as bash splits it
    assert complete_words("fac") == ["facades", "facades_paper", "facades_rpgan"]
    monkeypatch.setenv("COMP_WORDS", "gantrain train recipe =")
    assert len(complete_words("=")) == len(RECIPE_NAMES)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["recipes"],
        ["recipes", "--help"],
        ["train", "--help"],
        ["train", "-h"],
        ["launchers"],
        ["recpes"],
    ],
)
def test_quick_commands_import_no_torch(words: list[str]) -> None:
    code = "import sys; from gantrain.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code, *words], check=True, capture_output=True, timeout=60
    )


def test_completion_imports_no_torch() -> None:
    completion = {
        "_GANTRAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": "gantrain train recipe=fac",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gantrain"],
        env={**os.environ, **completion},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [
        "recipe=facades",
        "recipe=facades_paper",
        "recipe=facades_rpgan",
    ]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert "torch" not in imported


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["recipes"], ["recipes", "--schema"], ["recipes", "show", "facades"], ["--help"]]
)
def test_a_closed_pipe_ends_a_command_quietly(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gantrain", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


def test_an_interrupt_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("gantrain.cli.shipped_launchers.launchers", interrupted)
    assert main(["launchers"]) == 130
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("gantrain: interrupted; ")


@pytest.mark.parametrize("option", ["--out", "--data", "--import"])
def test_an_option_without_its_value_is_one_line(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "runs/x", option]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert option in line
    assert "no option" not in line
