"""Damaged and hostile checkpoints: every command ends in success or in one line for each
problem, never in a hang.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, run_here
from damaging_checkpoints import DAMAGES, seal, state_of, write_state
from fuzzing import limited
from safetensors.torch import load_file, save_file

from gantrain import load
from gantrain.core import formats
from gantrain.core import weight_files as weights
from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.importers.import_file import import_files
from gantrain.methods.base import Context
from gantrain.methods.image_pool import ImagePool
from gantrain.recipe import schema
from gantrain.runs import checkpoint, checkpoint_ranking
from gantrain.training.init_from import place
from gantrain.training.resuming import _rates_line
from gantrain.training.setup import RunSetup
from gantrain.training.train_state import restore
from gantrain.training.trainer import RunStopped, Trainer

CASES = 120
RUN = (
    *SMALL,
    "run=x",
    "batch_size=8",
    "checkpoint.every=8",
    "checkpoint.keep=3",
    "data.validation=null",
    "ema.half_life=8",
    "method.pool=16",
    "method.generator.norm=batch",
    "schedule.name=linear",
)
LAST = Path("runs/x/checkpoints/000000024")
BEFORE = Path("runs/x/checkpoints/000000016")
LONGER = (*RUN, "length=32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run of three checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        run_here(*RUN, "length=24")
    return folder / "runs"


@pytest.fixture(scope="module")
def run_setup(trained: Path, cache: Path) -> Iterator[RunSetup]:
    """The run's setup, to restore its checkpoints without training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained.parent)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        loaded = schema.load("quickstart", LONGER)
        with World("cpu") as world:
            yield RunSetup(loaded, world)


def restore_last(run_setup: RunSetup) -> None:
    restore(run_setup.engine(), LAST, run_setup, checkpoint.state(LAST).progress)


@pytest.fixture(autouse=True)
def _run(trained: Path) -> None:
    shutil.copytree(trained, "runs")


def _place() -> None:
    place(load("runs/x", "cpu").method, "runs/x")


READERS: dict[str, Callable[[], object]] = {
    "load": lambda: load("runs/x", "cpu"),
    "init_from": _place,
    "resume": lambda: run_here(*LONGER),
}


def line_of(read: Callable[[], object]) -> str:
    """What the reader says; empty where it succeeds. Fails for anything but a user's error."""
    problem: Exception | None = None
    try:
        read()
    except (ValueError, RunStopped) as e:
        problem = e
    if problem is None:
        return ""
    text = str(problem)
    assert isinstance(problem, UserError), f"raised outside of gantrain: {problem!r}"
    assert text.strip()
    assert all(character.isprintable() for line in text.splitlines() for character in line), repr(
        text
    )
    return text


def change(
    name: str, how: Callable[[dict[str, torch.Tensor]], object], is_sealed: bool = True
) -> None:
    """Change tensors of the last checkpoint."""
    path = LAST / f"{name}.safetensors"
    tensors = load_file(path)
    how(tensors)
    save_file(tensors, path)
    if is_sealed:
        seal(LAST)


def first(tensors: dict[str, torch.Tensor], ending: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(ending))


def set_first(
    ending: str, value: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[dict[str, torch.Tensor]], None]:
    def how(tensors: dict[str, torch.Tensor]) -> None:
        name = first(tensors, ending)
        tensors[name] = value(tensors[name])

    return how


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.arange(tensor.numel()).view(tensor.shape) == 0, torch.nan, tensor)


TENSORS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], object], str]] = {
    "NaN": ("networks/generator", set_first(".weight", with_nan), r"holds NaN or infinite values in .*\.weight"),
    "infinite": ("networks/discriminator", set_first(".bias", lambda t: t + torch.inf), "holds NaN or infinite values"),
    "NaN of the average": ("ema/generator", set_first(".weight", with_nan), "ema/generator.safetensors holds NaN"),
    "NaN of the optimiser": ("optimizers/generator", set_first("exp_avg", with_nan), "holds NaN"),
    "NaN in the pool": ("pools/fakes", set_first("0", with_nan), "holds NaN"),
    "shape": ("networks/generator", set_first(".weight", lambda t: t[:1].clone()), "has shape .* expected"),
    "kind": ("networks/generator", set_first(".weight", lambda t: t.long()), "is int64, expected float32"),
    "float8": ("networks/generator", set_first(".weight", lambda t: t.to(torch.float8_e4m3fn)), "is float8_e4m3fn"),
    "missing": ("networks/generator", lambda t: t.pop(first(t, ".weight")), "is missing"),
    "extra": ("networks/generator", lambda t: t.update(x=torch.ones(1)), "'x' is unknown"),
    "foreign optimiser key": ("optimizers/generator", lambda t: t.update({"a/exp_avg": torch.ones(1)}), "is unknown"),
    "key without a slash": ("optimizers/generator", lambda t: t.update({"a": torch.ones(1)}), "is unknown"),
    "moments of another shape": ("optimizers/generator", set_first("exp_avg", lambda t: t[:1].clone()), "has shape"),
    "one moment missing": ("optimizers/generator", lambda t: t.pop(first(t, "exp_avg")), "exp_avg is missing"),
    "negative moment": ("optimizers/generator", set_first("exp_avg_sq", lambda t: -t - 1), "has values below 0"),
    "negative step": ("optimizers/generator", set_first("/step", lambda t: -t), "has values below 0"),
    "empty optimiser": ("optimizers/generator", lambda t: t.clear(), "it is empty"),
    "slot missing": ("pools/fakes", lambda t: t.pop("3"), "it has 7 slots, expected 8"),
    "slot of another name": ("pools/fakes", lambda t: t.update({"x": t.pop("3")}), "slots, expected 8"),
    "other number of images": ("pools/fakes", set_first("0", lambda t: t[:1].clone()), "expected float images"),
    "slots unlike": ("pools/fakes", set_first("3", lambda t: t[..., :4].clone()), "3 has shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_another_kind_are_refused_on_resume(name: str, run_setup: RunSetup) -> None:
    """Also with the right SHA-256; the older checkpoint is offered."""
    file, how, says = TENSORS[name]
    change(file, how)
    (line,) = line_of(lambda: restore_last(run_setup)).splitlines()
    assert re.search(says, line)
    assert line.endswith(f"remove its folder, then {BEFORE} is used, which is whole")


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 5), (3, 8, 8)])
def test_pools_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """What the images of a pool look like, the method alone knows, when it makes the first one."""
    pool = ImagePool(16)
    pool.load_state_dict({"0": torch.zeros(2, *shape)})
    line = line_of(lambda: pool(torch.zeros(1, 3, 4, 4), Context(0, 8, 8, (8,))))
    assert f"images of shape {shape}, this run's have (3, 4, 4)" in line


@pytest.mark.slow
def test_refused_resume_leaves_the_checkpoints() -> None:
    change("networks/generator", set_first(".weight", with_nan))
    before = sorted(Path("runs/x/checkpoints").rglob("*"))
    assert f"then {BEFORE} is used, which is whole" in line_of(READERS["resume"])
    assert sorted(Path("runs/x/checkpoints").rglob("*")) == before


@pytest.mark.parametrize("reader", ["load", "init_from"])
@pytest.mark.parametrize("name", ["NaN of the average", "damaged"])
def test_weights_gone_wrong_are_refused(reader: str, name: str) -> None:
    change("ema/generator", set_first(".weight", with_nan), is_sealed=name != "damaged")
    if name == "damaged":
        path = LAST / "ema/generator.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    says = (
        "NaN or infinite values"
        if name != "damaged"
        else "its SHA-256 is not the one in state.json"
    )
    line = line_of(READERS[reader])
    assert says in line
    assert f"then {BEFORE} is used, which is whole" in line
    shutil.rmtree(LAST)
    assert not line_of(READERS[reader])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files_with_nan_are_not_imported(suffix: str) -> None:
    tensors = load_file(LAST / "networks/generator.safetensors")
    set_first(".weight", with_nan)(tensors)
    file = Path(f"net{suffix}")
    if suffix == ".pth":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    for read in (lambda: import_files([file], Path("new")), lambda: load(file, "cpu")):
        assert f"import: {file} holds NaN or infinite values in" in line_of(read)
    assert not Path("new").exists()


def test_one_element_that_stands_for_very_many_is_looked_at_once() -> None:
    huge = torch.zeros(1).expand(2**40)
    assert weights.first_nonfinite({"a": huge}) is None
    assert weights.first_nonfinite({"a": huge, "b": (huge[:1] + torch.nan).expand(2**40)}) == "b"


@pytest.mark.parametrize("dtype", weights.FLOATS)
def test_nan_and_infinity_are_found_in_every_kind_of_number(dtype: torch.dtype) -> None:
    for value in (torch.nan, torch.inf, -torch.inf):
        tensor = torch.zeros(3, 4, dtype=dtype).t()
        assert (
            weights.first_nonfinite({"a": tensor, "b": torch.zeros(0), "c": torch.ones(1).long()})
            is None
        )
        tensor[2, 1] = value
        assert weights.first_nonfinite({"a": tensor}) == "a"


@pytest.mark.parametrize(
    "text", ["3", "name: x", "data: 3", "data: {size: [0, 8]}", "data: {size: x}", "- a\n- b"]
)
def test_first_weights_need_a_recipe_that_states_the_size(text: str) -> None:
    """The scales of networks are matched by it."""
    method = load(BEFORE, "cpu").method
    Path(LAST / "recipe.yaml").write_text(f"{text}\n")
    line = line_of(lambda: place(method, "runs/x"))
    assert line.startswith(f"init_from: checkpoint: {LAST} can't be used: ")
    assert "recipe.yaml" in line
    assert f"then {BEFORE} is used, which is whole" in line


def test_recipe_of_a_checkpoint_is_named() -> None:
    path = LAST / "recipe.yaml"
    path.write_text(path.read_text() + "more: 1\nless: 2\n")
    lines = line_of(READERS["load"]).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{LAST}/recipe.yaml: ") for line in lines)


def test_damaged_older_checkpoint_is_not_offered() -> None:
    change("ema/generator", set_first(".weight", with_nan))
    shutil.copytree(LAST / "ema", BEFORE / "ema", dirs_exist_ok=True)
    assert "then runs/x/checkpoints/000000008 is used, which is whole" in line_of(READERS["load"])
    shutil.rmtree("runs/x/checkpoints/000000008")
    assert "the run has no older one that is whole" in line_of(READERS["load"])


PROGRESS = ("progress", "nonfinite_steps")
STATES: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "images as text": (("images_seen",), "24", "images_seen: found '24'"),
    "negative images": (("images_seen",), -8, "images_seen: found -8"),
    "images are true": (("images_seen",), True, "images_seen: found true"),
    "images as a fraction": (("images_seen",), 24.5, "images_seen: found 24.5"),
    "very many images": (("images_seen",), 2**70, "images_seen: found"),
    "another checkpoint's": (("images_seen",), 16, "images_seen: found 16, allowed: 24"),
    "no ranks": (("ranks",), 0, "ranks: found 0"),
    "automatic micro-batch": (("micro_batch_size",), "auto", "micro_batch_size: found 'auto'"),
    "metrics as texts": (("metrics",), {"l1": "x"}, "metrics.l1: found 'x'"),
    "metrics of NaN": (("metrics",), {"l1": float("nan")}, "metrics: found"),
    "no facts": (("facts",), {}, "facts: found {}, allowed:"),
    "other facts": (("facts", "source_channels"), 7, "facts: found"),
    "many channels": (("facts", "source_channels"), 10**9, "facts.source_channels: found"),
    "fields are a list": (("fields",), [], "fields: found"),
    "no target": (("fields",), {}, "allowed: source and target"),
    "no such key": (("more",), 1, "more: unknown key"),
    "no digest": (("sha256",), {}, "state.json has no SHA-256 of"),
    "a digest that is none": (("sha256", "ema/generator"), "x", "sha256.ema/generator: found 'x'"),
    "data of another kind": (("fingerprint",), 1, "fingerprint: found 1"),
    "negative counts": (PROGRESS, -1, "progress.nonfinite_steps: found -1"),
    "damaged numbers": (("progress", "damaged"), [1], "allowed: texts"),
    "meters": (("progress", "meters"), {"l1": {"total": float("nan"), "steps": 1}}, "progress.meters.l1.total"),
    "a version that colours the terminal": (("versions", "torch"), "\x1b[31m", "versions.torch: found"),
    "another format": (("format",), 1, "state.json: found format 1, this gantrain reads format"),
    "modules as text": (("modules",), "mine", "modules: found 'mine'"),
    "a module that is none": (("modules",), ["../mine"], "modules: found ['../mine'], allowed: names of modules"),
    "a module that colours the terminal": (("modules",), ["\x1b[31m"], "allowed: names of modules"),
    "a format that is true": (("format",), True, "found format True"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_odd_states_are_refused(name: str, run_setup: RunSetup) -> None:
    keys, value, says = STATES[name]
    content = state_of(LAST)
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    write_state(LAST, content)
    (line,) = line_of(lambda: restore_last(run_setup)).splitlines()
    assert says in line


@pytest.mark.slow
def test_checkpoint_without_its_data_is_refused() -> None:
    """Rather than resumed with whatever data the command names."""
    content = state_of(LAST)
    content["fingerprint"] = ""
    write_state(LAST, content)
    assert "holds other data (fingerprint" in line_of(READERS["resume"])


REQUIRED = ("format", "images_seen", "fingerprint", "ranks", "micro_batch_size")
REQUIRED = (*REQUIRED, "metrics", "facts", "fields", "versions", "sha256")


@pytest.mark.parametrize("key", REQUIRED)
def test_missing_keys_are_named(key: str) -> None:
    content = state_of(LAST)
    del content[key]
    write_state(LAST, content)
    with pytest.raises(ValueError, match=f"found format 'none'|{key}: missing"):
        checkpoint.state(LAST)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[" * 200_000, b"[]", b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_states_that_are_none(content: bytes) -> None:
    (LAST / "state.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"000000024 can't be used: state.json.* then .*000000016 is used"
    ):
        checkpoint.state(LAST)


def test_only_damage_asks_to_remove_a_checkpoint(tmp_path: Path) -> None:
    """Another format and a link whose content was not fetched are no damage: each has its own
    remedy.
    """
    content = state_of(LAST)
    write_state(LAST, {**content, "format": 99})
    with pytest.raises(
        ValueError, match=f"found format 99, this gantrain reads format {formats.CHECKPOINT}"
    ) as caught:
        checkpoint.state(LAST)
    assert "remove its folder" not in str(caught.value)
    write_state(LAST, content)
    weights = LAST / "networks" / "generator.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "annex" / "generator")
    with pytest.raises(ValueError, match=r"a dangling link to .*git annex get") as caught:
        checkpoint.tensors(LAST, "networks/generator", checkpoint.state(LAST))
    assert "remove its folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "says"), [(True, "fields.source.channels"), (99_999, "at most 1024")]
)
def test_fields_have_an_indexs_bounds(value: object, says: str) -> None:
    content = state_of(LAST)
    content["fields"]["source"]["channels"] = value
    write_state(LAST, content)
    with pytest.raises(ValueError, match=says):
        checkpoint.state(LAST)


@pytest.mark.slow
def test_prune_survives_a_damaged_sibling(capsys: pytest.CaptureFixture[str]) -> None:
    (BEFORE / "state.json").write_text("{")
    assert run_here(*RUN, "length=40", "checkpoint.keep=1") == "finished"
    assert [folder.name for folder in checkpoint.list_checkpoints(LAST.parent)] == [
        "000000016",
        "000000040",
    ]
    assert (
        capsys.readouterr().out.count(f"checkpoint: {BEFORE} is damaged; it is not used, and stays")
        == 1
    )


def test_prune_counts_whole_checkpoints_alone() -> None:
    """With the last one damaged, the last whole one stays."""
    (LAST / "state.json").write_text("{")
    assert checkpoint_ranking.prune(LAST.parent, keep=1, best=0, metric="l1", largest=False) == [
        LAST
    ]
    assert [folder.name for folder in checkpoint.list_checkpoints(LAST.parent)] == [
        "000000016",
        "000000024",
    ]


@pytest.mark.slow
def test_copies_beside_checkpoints_are_no_checkpoints() -> None:
    shutil.copytree(LAST, LAST.with_name("000000024.bak"))
    shutil.copytree(LAST, LAST.with_name("1000000000"))  # longer names come later
    assert [folder.name for folder in checkpoint.list_checkpoints(LAST.parent)][-1] == "1000000000"
    shutil.rmtree(LAST.with_name("1000000000"))
    assert run_here(*LONGER) == "finished"


@pytest.mark.parametrize("content", [b"\xff", b"a: [", b"- 1\n", b"format: 1\n", b"name: x\n"])
def test_broken_recipe_of_a_run_is_a_line(content: bytes) -> None:
    Path("runs/x/recipe.yaml").write_bytes(content)
    line = line_of(READERS["resume"])
    assert "runs/x/recipe.yaml" in line
    assert len(line.splitlines()) == 1


def test_a_runs_recipe_is_a_recipe_as_well() -> None:
    content = schema.load("runs/x/recipe.yaml")
    assert content.run == "x"
    assert f"format: {formats.RUN}\n" in Path("runs/x/recipe.yaml").read_text()


@pytest.mark.slow
def test_infinite_weights_are_not_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would push out the last checkpoint that can be used."""
    step = Trainer._step

    def spoiled(self: Trainer, raw: Any) -> None:
        step(self, raw)
        with torch.no_grad():
            next(self.engine.method.networks["generator"].parameters()).fill_(torch.inf)

    monkeypatch.setattr(Trainer, "_step", spoiled)
    with pytest.raises(
        RunStopped, match=r"image 32 could not be saved .*: networks/generator has NaN or infinite"
    ):
        run_here(*LONGER)
    assert [folder.name for folder in checkpoint.list_checkpoints(LAST.parent)][-1] == "000000024"


@pytest.mark.slow
def test_another_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    content = state_of(LAST)
    content["versions"]["gantrain"] = "0.0.1"
    write_state(LAST, content)
    assert run_here(*LONGER) == "finished"
    said = capsys.readouterr().out
    assert "the checkpoint is of gantrain 0.0.1, this is gantrain" in said
    assert "bit-identity holds within a version" in said


def test_a_longer_run_says_its_learning_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """Linear over the last half: at 16 of 24 images a third of the rate is gone, at 24 of 48
    nothing.
    """
    assert run_here(*RUN, "length=48") == "finished"
    said = capsys.readouterr().out
    assert (
        "length is now 48 images (was 24): the learning rate goes on at 0.0005 (it was 0.000333)"
        in said
    )
    assert run_here(*RUN, "length=48") == "finished"
    assert "length is now" not in capsys.readouterr().out


def test_rates_of_phases_are_named_where_they_differ() -> None:
    assert _rates_line({"g": 1e-5, "d": 1e-5}, {"g": 2e-4, "d": 2e-4}).endswith(
        "goes on at 0.0002 (it was 1e-05)"
    )
    assert _rates_line({"g": 1e-5}, {"g": 2e-4, "d": 1e-4}) == (
        "the learning rates go on: g at 0.0002 (it was 1e-05), d at 0.0001 (it was unknown)"
    )


@pytest.fixture
def _limited(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a case that takes too long."""
    with limited(request.node.name):
        yield


def damaged(seed: int) -> str:
    """Damage the last checkpoint; every other one gets the right SHA-256 again."""
    chance = random.Random(seed)
    what = DAMAGES[seed % len(DAMAGES)](LAST, chance)
    if seed // len(DAMAGES) % 2:
        seal(LAST)
    return what


@pytest.mark.usefixtures("_limited")
@pytest.mark.parametrize("seed", range(20))
def test_hostile_checkpoints_end_in_lines(seed: int, run_setup: RunSetup) -> None:
    """The quick part: without training."""
    print(damaged(seed))
    for read in (READERS["load"], lambda: restore_last(run_setup)):
        line_of(read)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("_limited")
@pytest.mark.parametrize("seed", range(CASES))
def test_commands_on_hostile_checkpoints_end_in_lines(seed: int) -> None:
    what = damaged(seed)
    for name, read in READERS.items():
        print(f"{seed}: {what}: {name}: {line_of(read) or 'fine'}")
    assert json.loads(Path("runs/x/status.json").read_text())["state"] in (
        "finished",
        "failed",
        "running",
    )
