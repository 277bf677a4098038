"""What a user gets for a wrong key, option or recipe: a suggestion that works when it is pasted."""

import re
import shlex
from pathlib import Path

import documents
import pytest
from conftest import ROOT

from gantrain.cli.train_command import train_main
from gantrain.recipe import peer_options, schema

# The words behind `gantrain train`, and what the line suggests. A suggestion of a key alone gets
# the mistake's value.
MISTAKES = {
    # flat keys
    "recipe=facades lr=1e-4": "optimizer.lr",
    "recipe=facades epochs=20": "'length=20 epochs'",
    "recipe=facades l1=10": "method.losses.l1",
    "recipe=facades weight_decay=0.1": "optimizer.weight_decay",
    "recipe=facades flip=false": "data.flip",
    "recipe=facades half_life=1000": "ema.half_life",
    "recipe=facades best_by=l1": "evaluate.best_by",
    "recipe=facades levels=7": "method.generator.levels",
    "recipe=facades width=32": "method.generator.width or method.discriminator.width",
    "recipe=facades learning_rate=1e-4": "optimizer.lr=0.0001",
    "recipe=facades batchsize=4": "batch_size",
    "recipe=facades batch-size=4": "batch_size=4",
    "recipe=facades bs=4": "batch_size=4",
    "recipe=facades num_workers=2": "data.workers=2",
    "recipe=facades image_size=128": "'data.size=[128,128]'",
    "recipe=facades name=h": "run=h",
    "recipe=facades optimiser.lr=1e-4": "optimizer",
    # a key in another part of the recipe, or misspelt in its own
    "recipe=facades method.lr=1e-4": "optimizer.lr",
    "recipe=facades optimizer.l1=10": "method.losses.l1",
    "recipe=facades optimizer.learning_rate=1e-4": "optimizer.lr=0.0001",
    "recipe=facades method.generator.lvels=5": "method.generator.levels",
    "recipe=facades method.discriminator.layer=2": "method.discriminator.layers",
    "recipe=facades method.generator.blocks=6": "method.generator=resnet method.generator.blocks=6",
    "recipe=facades method.discriminator.scales=2": (
        "method.discriminator=multiscale_patchgan method.discriminator.scales=2"
    ),
    "recipe=facades method.cycle=5": "recipe=cyclegan method.cycle=5",
    "recipe=facades cycle=5": "recipe=cyclegan method.cycle=5",
    "recipe=cut method.cycle=5": "recipe=cyclegan method.cycle=5",
    "recipe=facades phases.generator.weightdecay=0": "phases.generator.weight_decay",
    "recipe=quickstart 'data.labels={label:12}'": "'data.labels={label: 12}'",
    "recipe=facades 'stages=[{length:8}]'": "'stages=[{length: 8}]'",
    # options of pytorch-CycleGAN-and-pix2pix
    "recipe=facades --dataroot ./facades": "data.train=./facades/train data.validation=auto",
    "recipe=facades --batch_size 4": "batch_size=4",
    "recipe=facades --batch_size=4": "batch_size=4",
    "recipe=facades --n_epochs 100": "'length=100 epochs'",
    "recipe=facades --lr 0.0002": "optimizer.lr=0.0002",
    "recipe=facades --beta1 0.5": "'optimizer.betas=[0.5,0.999]'",
    "recipe=facades --name facades_pix2pix": "run=facades_pix2pix",
    "recipe=facades --netG unet_128": "method.generator=unet method.generator.levels=7",
    "recipe=facades --netG resnet_9blocks": "method.generator=resnet method.generator.blocks=9",
    "recipe=facades --direction BtoA": "data.source=right data.target=left",
    "recipe=facades --load_size 286": "'data.resize=[286,286]'",
    "recipe=facades --lambda_L1 50": "method.losses.l1=50",
    "recipe=facades lambda_L1=50": "method.losses.l1=50",
    "recipe=facades --gan_mode wgangp": "method.adversarial=wgan 'method.penalties=[gradient_penalty]'",
    "recipe=facades --no_flip": "data.flip=false",
    "recipe=facades --gpu_ids -1": "device=cpu",
    "recipe=facades --use_wandb": "'trackers=[wandb]'",
    "recipe=facades --model cycle_gan": "recipe=cyclegan",
    "recipe=cyclegan --lambda_A 10": "method.cycle=10",
    "recipe=facades --lambda_A 10": "recipe=cyclegan method.cycle=10",
    # of CUT, pix2pixHD and SPADE
    "recipe=cut --lambda_NCE 10": "method.nce=10",
    "recipe=facades --CUT_mode FastCUT": "recipe=horse2zebra_fastcut",
    "recipe=cityscapes_pix2pixhd --no_vgg_loss": "method.losses.perceptual=0",
    "recipe=cityscapes_pix2pixhd --num_D 3": "method.discriminator.scales=3",
    "recipe=cityscapes_pix2pixhd --batchSize 8": "batch_size=8",
    "recipe=cityscapes --use_vae": "recipe=cityscapes_spade method.style=vae",
    "recipe=cityscapes_spade --lambda_kld 0.1": "method.kld=0.1",
    "recipe=cityscapes_spade --no_instance": "data.inputs.instances=null",
    # the words themselves
    "recipe=facade": "recipe=facades",
    "recipe=facades.yaml": "recipe=facades",
    "facades": "recipe=facades",
    "--recipe facades": "recipe=facades",
    "recipe=facades lr = 1e-4": "optimizer.lr=1e-4",
    "recipe=facades lr:1e-4": "optimizer.lr=1e-4",
    "recipe=facades lr =1e-4": "optimizer.lr=1e-4",
    "recipe=facades lr= 1e-4": "optimizer.lr=1e-4",
    "recipe=facades length = 5 epochs": "'length=5 epochs'",
    "recipe=facades length =5 epochs": "'length=5 epochs'",
    "recipe=facades --flip": "data.flip=true",
    "recipe=quickstart length 5": "length=5",
    "recipe=quickstart length 5 epochs": "'length=5 epochs'",
    "recipe=facades optimizer.lr 1e-4": "optimizer.lr=1e-4",
    "recipe=facades lr 1e-4": "optimizer.lr=1e-4",
    "recipe=facades epochs 5": "'length=5 epochs'",
    "recipe=facades data.flip": "data.flip=true",
    "recipe=facades --size 64": "data.size=64",
    "recipe=facades epoch=3": "'length=3 epochs'",
    "recipe=facades --epoch 3": "'length=3 epochs'",
    # a name that is nearly right in its own part, and right in another one
    "recipe=facades evaluate.best=l1": "evaluate.best_by",
    "recipe=facades checkpoint.best_by=l1": "evaluate.best_by",
    "recipe=facades data.test_set=x": "data.test",
    "--recipe=facades": "recipe=facades",
}


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which `gantrain train` refuses the words."""
    assert train_main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]


def pasted(words: list[str], suggestion: str) -> list[str]:
    """The command line after the suggestion is pasted in place of the mistake."""
    new = shlex.split(suggestion.partition(" or ")[0])
    mistake = next((word for word in reversed(words) if not word.startswith("recipe=")), "")
    if len(new) == 1 and "=" not in new[0]:
        wrong, _, value = mistake.partition("=")
        # A part of the recipe that is misspelt keeps what stands behind it.
        new = [
            f"{new[0]}.{wrong.partition('.')[2]}={value}"
            if new[0] == "optimizer"
            else f"{new[0]}={value}"
        ]
    named = [word for word in words if word.startswith("recipe=")] if mistake else []
    return new if new[0].startswith("recipe=") else [*named, *new]


def loads(words: list[str]) -> None:
    names = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
    assert len(names) == 1, words
    schema.load(names[0], [word for word in words if not word.startswith("recipe=")])


def test_the_table_is_long() -> None:
    assert len(MISTAKES) >= 60


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_suggestion_works_when_it_is_pasted(
    mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(mistake)
    line = complaint(words, capsys)
    suggestions = re.findall(r"did you mean (.*?)\?(?: |$)", line)
    assert len(suggestions) == 1, line
    expected = MISTAKES[mistake]
    # Of recipes with similar names, the closest one stands first.
    assert suggestions[0] == expected or suggestions[0].startswith(f"{expected} or recipe="), line
    loads(pasted(words, suggestions[0]))


@pytest.mark.parametrize(
    ("recipe", "folders", "suggestion"),
    [
        ("facades", ["trainA", "trainB"], "data=set data.validation=auto"),
        ("cyclegan", ["trainA", "trainB"], "data=set"),
        ("facades", ["train"], "data.train=set/train data.validation=auto"),
        ("pix2pix", ["train"], "data.train=set/train"),
        (
            "daynight",
            ["trainA", "trainB"],
            "data=set data.validation=auto data.train_target=null data.validation_target=null",
        ),
    ],
)
def test_dataroot_follows_the_layout_of_the_folder(
    recipe: str, folders: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in folders:
        Path("set", name).mkdir(parents=True)
    words = [f"recipe={recipe}", "--dataroot", "set"]
    assert f"did you mean {suggestion}?" in complaint(words, capsys)
    loaded = schema.load(recipe, suggestion.split())
    assert loaded.data.validation == "auto"


@pytest.mark.slow
def test_every_option_of_another_project_leads_to_words_that_are_valid() -> None:
    """Each value that the table tells apart, and for the other options one of these values."""
    samples = [
        "1",
        "0.5",
        "auto",
        "x",
        "true",
        "batch",
        "normal",
        "more",
        "lsgan",
        "512",
        "adam",
        "linear",
        "facades",
    ]
    entries = peer_options._entries("give")
    assert len(entries) > 100
    wrong = []
    for option, template in entries:
        known = [value for value in template if value != "*"] if isinstance(template, dict) else []
        valid = (_is_valid(peer_options.words_for(option, value)) for value in known or samples)
        if not (all(valid) if known else any(valid)):
            wrong.append(option)
    assert wrong == []


def _is_valid(words: list[str]) -> bool:
    named = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
    for name in named or ["pix2pix", "cityscapes_pix2pixhd", "cut"]:
        try:
            schema.load(name, [word for word in words if not word.startswith("recipe=")])
        except ValueError:
            continue
        return True
    return False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--serial_batches"], "the order of samples follows from seed"),
        (["--continue_train"], "the same command again goes on with its run"),
        (["resume=true"], "the same command again goes on with its run"),
        (["max_steps=1000"], "lengths are images or epochs, such as length=10000"),
        (["data.size=[64,", "64]"], "put both into quotes: 'data.size=[64, 64]'"),
        (["length=20", "epochs"], "put both into quotes: 'length=20 epochs'"),
        (
            ["evaluate.metrics=[fid]"],
            "set both keys, as in 'evaluate.metrics=[fid]' evaluate.best_by=fid",
        ),
        (["method.generator.blocks=6"], "unet has no blocks, but resnet and coarse_to_fine have"),
        (["--import_", "mine"], "did you mean --import mine?"),
        (["method=cycelgan"], "did you mean cyclegan?"),
        (["method.generator=unett"], "did you mean unet?"),
        (["method.adversarial=lsgna"], "did you mean lsgan?"),
        (["--n_epochs_decay", "100"], "such as 'length=200 epochs' schedule.decay_fraction=0.5"),
        (["--help"], "`gantrain train --help` describes them"),
        (["seed"], "found 'seed', allowed: recipe=NAME a.b.c=value; did you mean seed=VALUE?"),
        (["--epoch", "latest"], "gantrain translate and evaluate take runs/"),
        (["stages=3"], "stages: found 3, allowed: mappings in brackets, as in [{key: value}]"),
        (["trackers=wandb"], "found 'wandb', allowed: values in brackets, such as [wandb]"),
    ],
)
def test_a_mistake_without_a_counterpart_is_explained(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in complaint(["recipe=facades", *words], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--version"], "did you mean `gantrain --version`?"),
        (
            ["="],
            "found '=', which has no key; write key=value without blanks around =, such as length=1000",
        ),
        (
            ["=5"],
            "found '=5', which has no key; write key=value without blanks around =, such as length=5",
        ),
        (["lr="], "found 'lr=', which has no value; did you mean optimizer.lr=VALUE?"),
        (
            ["recipe=cut", "lambda_NCE="],
            "found 'lambda_NCE=', which has no value; did you mean method.nce=VALUE?",
        ),
        (["--dataroot"], "did you mean data.train=VALUE/train?"),
        (["--lr"], "did you mean optimizer.lr=VALUE?"),
        (["--best"], "did you mean checkpoint.best=VALUE?"),
        (["--recipe"], "did you mean recipe=NAME?"),
    ],
)
def test_a_word_without_a_key_or_a_value_gets_one_to_write(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in complaint(words, capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["recipe=facades", "lenght=3"],
        ["recipe=facades", "method.generator.lvels=5"],
        ["recipe=facades", "data.siz=[8,8]"],
        ["recipe=facade"],
    ],
)
def test_a_long_list_is_not_printed_behind_a_suggestion(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(words, capsys)
    assert line.endswith("?")
    assert "allowed" not in line


def test_a_short_list_stays_behind_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(["recipe=facades", "schedule.decay_fracton=0.5"], capsys)
    assert "did you mean schedule.decay_fraction? allowed: name, decay_fraction, " in line


def test_each_option_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--dataroot",
        "./facades",
        "--name",
        "f",
        "--model",
        "pix2pix",
        "--direction",
        "BtoA",
        "--n_epochs",
        "5",
    ]
    assert train_main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 5
    assert all("did you mean" in line for line in lines)


@pytest.mark.parametrize("key", ["extend", "extnds", "inherits", "base"])
def test_a_misspelt_extends_is_the_only_problem(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(f"{key}: facades\nseed: 3\n")
    assert f"mine.yaml: {key}: unknown key; did you mean extends?" in complaint(
        ["recipe=mine.yaml"], capsys
    )


def test_a_missing_blank_in_a_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("extends: facades\ndata: {labels: {right:12}}\n")
    line = complaint(["recipe=mine.yaml"], capsys)
    assert "mine.yaml: found 'right:12'" in line
    assert "put a blank behind the colon: write 'right: 12'" in line


def test_similar_names_of_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own").mkdir()
    Path("own/streets.yaml").write_text("extends: facades\n")
    assert "did you mean recipe=own/streets.yaml?" in complaint(["recipe=own/street.yaml"], capsys)
    Path("own/child.yaml").write_text("extends: facade\n")
    assert "did you mean extends: facades" in complaint(["recipe=own/child.yaml"], capsys)


def test_lists_of_keys_name_what_a_user_may_set(capsys: pytest.CaptureFixture[str]) -> None:
    allowed = (
        complaint(["recipe=facades", "colour=red"], capsys).partition("allowed: ")[2].split(", ")
    )
    assert {"run", "length", "optimizer"} <= set(allowed)
    assert not {"name", "description"} & set(allowed)
    allowed = (
        complaint(["recipe=facades", "method.generator.colour=red"], capsys)
        .partition("allowed: ")[2]
        .split(", ")
    )
    assert {"name", "width", "levels"} <= set(allowed)
    assert not {"in_channels", "out_channels"} & set(allowed)


def test_a_recipe_may_state_its_name() -> None:
    """Only a component loses its options when its name changes: the recipe and its optimiser
    keep theirs.
    """
    Path("mine.yaml").write_text("extends: facades\nname: mine\noptimizer: {name: adamw}\n")
    loaded = schema.load("mine.yaml")
    assert loaded.name == "mine"
    assert loaded.optimizer.lr == schema.load("facades").optimizer.lr == 5.7e-4
    assert loaded.data == schema.load("facades").data


def test_the_tables_in_the_documentation_are_those_of_the_package() -> None:
    """`gantrain/recipe/peer_options.yaml` is the source; an installed package has no documentation."""
    tables = peer_options.table_rows()
    pages = {path.stem for path in (ROOT / "docs/coming_from").glob("*.md")}
    assert pages == {"index", *map(page_of, tables)}
    for project, rows in tables.items():
        assert len(rows) > 5
        page = f"docs/coming_from/{page_of(project)}.md"
        table = "\n".join(f"| {there} | {here} |" for there, here in rows)
        head = f"| {project} | gantrain |\n|---|---|\n"
        is_there = f"{head}{table}\n\n" in documents.text(page)
        assert is_there, f"{page} lacks this table, or a row of it differs:\n{table}"


def page_of(project: str) -> str:
    """Return the name of a project's page."""
    return project.lower().replace("-", "_")
