"""What README.md, CONTRIBUTING.md and docs/ print is true: commands, keys, code, rows."""

import ast
import re
import subprocess

import documents
import pytest
import typer
from conftest import ROOT

from gantrain.cli.app import app
from gantrain.recipe import schema

PARSERS = typer.main.get_command(app).commands
RUNNER = "python3 -m venv .venv && .venv/bin/pip install -e "


def check(words: list[str]) -> None:
    """Raises ValueError where `recipe=NAME a.b=c` would be refused."""
    names = [w.removeprefix("recipe=") for w in words if w.startswith("recipe=")]
    known = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert len(names) <= 1, words
    assert all(name in known or name == "NAME" or name.endswith(".yaml") for name in names), words
    name = names[0] if names and names[0] in known else "pix2pix"
    schema.load(name, [w for w in words if not w.startswith("recipe=")])


def arguments_of(command: list[str]) -> tuple[str, list[str]]:
    """The subcommand of a `gantrain` command, or of a launcher's, and its arguments."""
    launched = [i for i, word in enumerate(command) if word in documents.LAUNCHED]
    if launched:
        return "train", command[launched[0] + 1 :]
    if command[0].rsplit("/", 1)[-1] == "gantrain":
        return command[1] if len(command) > 1 else "", command[2:]
    return "", []


@pytest.mark.slow
def test_every_key_is_valid() -> None:
    found = [words for document in documents.DOCUMENTS for words in documents.overrides(document)]
    assert len(found) > 30
    for words in found:
        check(words)


@pytest.mark.slow
def test_every_command_is_valid() -> None:
    commands = [c for document in documents.DOCUMENTS for c in documents.commands(document)]
    checked = 0
    for name, arguments in map(arguments_of, commands):
        # A bare `gantrain translate` is a name in a sentence; test_contributing runs --import.
        if not arguments or {"--import", "--help"} & set(arguments):
            continue
        if name == "train":
            check(arguments)
        else:
            PARSERS[name].make_context(name, arguments)  # raises for an unknown option
        checked += 1
    assert checked > 10


def test_the_table_of_options_is_complete() -> None:
    page = documents.text("docs/coming_from/pytorch_cyclegan_and_pix2pix.md")
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", page, re.M)[1:]
    assert len(rows) > 30
    assert len({there for there, _ in rows}) == len(rows)
    asked = (
        "dataroot name model direction netG netD ngf ndf n_layers_D norm init_type no_dropout "
        "dataset_mode batch_size load_size crop_size preprocess no_flip n_epochs n_epochs_decay "
        "beta1 lr gan_mode pool_size lr_policy lambda_L1 continue_train epoch_count gpu_ids "
        "num_threads serial_batches max_dataset_size display_freq print_freq save_epoch_freq eval "
        "num_test results_dir phase use_wandb seed input_nc output_nc"
    )
    everything = " ".join(there for there, _ in rows)
    missing = [o for o in asked.split() if not re.search(rf"--{o}\b", everything)]
    assert missing == []


def test_every_recipe_has_a_row() -> None:
    section = documents.text("docs/recipes.md").split("## The shipped recipes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert sorted(rows) == sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("marker", ["quickstart", "tests"])
def test_headline_commands_are_what_ci_runs(marker: str) -> None:
    command = documents.block("README.md", marker).strip()
    assert command.startswith(RUNNER)
    assert "\n" not in command
    assert documents.text("README.md").count(RUNNER) == 2
    script = documents.text(".ci/run")
    function = re.search(r"^readme\(\) \{.*?\}", script, re.M)
    assert function
    assert f'bash -c "$(readme {marker})"' in script
    read = subprocess.run(
        ["bash", "-c", f"{function[0]}; readme {marker}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout.strip() == command


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_python_is_valid(document: str) -> None:
    for code in documents.python_blocks(document):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "gantrain":
                exec(compile(ast.unparse(node), document, "exec"), {})


def test_the_pages_for_programmers_have_python() -> None:
    for document in ("CONTRIBUTING.md", "docs/api.md"):
        assert documents.python_blocks(document)


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_every_linked_file_is_there(document: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", documents.text(document))
    folder = (ROOT / document).parent
    missing = [link for link in links if not (folder / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", documents.DOCUMENTS)
def test_links_to_the_repository_lead_to_files(document: str) -> None:
    links = re.findall(
        r"https://github\.com/gantrain/gantrain/(?:blob|tree)/main/([^)#\s]+)",
        documents.text(document),
    )
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []
