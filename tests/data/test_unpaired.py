"""Unpaired data: two sets in two streams, alike for any ranks and workers; held-out samples;
damage.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, run_here
from PIL import Image
from typer.testing import CliRunner

import gantrain
from gantrain.cli import app
from gantrain.core.world import World
from gantrain.data.kinds.table import KINDS
from gantrain.data.loader import held_out_batches
from gantrain.data.prepare.pack import prepare
from gantrain.data.shards import Shards
from gantrain.data.transforms import SampleTransform
from gantrain.data.unpaired import Unpaired, targets_seed
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.recipe import schema
from gantrain.training.batch_split import split
from gantrain.training.setup import RunSetup

SIZES = {"trainA": (13, 24, 30), "trainB": (7, 40, 20), "testA": (5, 24, 30), "testB": (3, 40, 20)}
UNPAIRED = (
    "data.unpaired=true",
    "data.labels={}",
    "evaluate.metrics=[histogram]",
    "evaluate.best_by=histogram",
)
CYCLEGAN = (
    *SMALL[:2],
    *SMALL[5:],
    *UNPAIRED,
    "method={name: cyclegan, generator: {width: 4, blocks: 1}, discriminator: {width: 4, layers: 1}}",
    "data.size=[16,16]",
    "data.source=image",
    "data.target=image",
    "batch_size=6",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in CycleGAN's layout, all of one grey: 10 x their number, of targets 5 more."""
    for name, (count, height, width) in SIZES.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(count):
            grey = np.full((height, width, 3), 10 * i + 5 * name.endswith("B"), np.uint8)
            Image.fromarray(grey).save(tmp_path / "set" / name / f"{i:02}.png")
    return tmp_path / "set"


def assembled(*words: str) -> RunSetup:
    return RunSetup(schema.load("quickstart", [*CYCLEGAN, "length=78", *words]), World("cpu"))


def stream(
    *words: str, ranks: int = 1, workers: int = 0, start: int = 0
) -> list[dict[str, torch.Tensor]]:
    """The global batches of 6, put together from the ranks' shares."""
    setup, shares = assembled(*words), []
    for rank in range(ranks):
        setup.data.split = split(6, ranks, None, setup.recipe.data.partitions)
        setup.data.world = SimpleNamespace(rank=rank, device=torch.device("cpu"))  # type: ignore[assignment]
        shares.append(list(setup.data.loader(start, 78, workers)))
    batches = []
    for raws in zip(*shares, strict=True):
        assert set(raws[0].fields) == {"source", "target"}
        positions = [p for raw in raws for p in raw.positions]
        assert positions == list(range(positions[0], positions[0] + 6))
        batches.append(
            {n: torch.cat([raw.fields[n] for raw in raws]) for n in ("source", "target")}
        )
    return batches


def numbers(batches: list[dict[str, torch.Tensor]], field: str) -> list[int]:
    """Which sample stands at each position."""
    greys = torch.cat([one[field] for one in batches])[:, 0, 0, 0].tolist()
    return [(grey - 5 * (field == "target")) // 10 for grey in greys]


def test_each_set_has_epochs_of_its_own(folder: Path) -> None:
    """Thirteen sources and seven targets: the longer one is an epoch, and nothing pairs them."""
    assert assembled(f"data={folder}").data.epoch == 13
    batches = stream(f"data={folder}")
    for field, count in (("source", 13), ("target", 7)):
        found = numbers(batches, field)
        assert len(found) == 78
        epochs = [found[i : i + count] for i in range(0, 78 - count + 1, count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)
    pairs = set(zip(numbers(batches, "source"), numbers(batches, "target"), strict=True))
    assert len(pairs) > 40  # of 78 positions and 91 pairs


def test_targets_follow_from_seed_and_position_alone(folder: Path) -> None:
    """Other sources leave the targets as they are, and the other way round."""
    batches = stream(f"data={folder}")
    fewer = stream(f"data.train={folder / 'testA'}", f"data.train_target={folder / 'trainB'}")
    assert numbers(fewer, "target") == numbers(batches, "target")
    fewer = stream(f"data.train={folder / 'trainA'}", f"data.train_target={folder / 'testB'}")
    assert numbers(fewer, "source") == numbers(batches, "source")
    assert targets_seed(0) != targets_seed(1)
    same = stream(f"data.train={folder / 'trainA'}", f"data.train_target={folder / 'trainA'}")
    assert torch.cat([b["source"] for b in same]).ne(torch.cat([b["target"] for b in same])).any()
    assert numbers(stream(f"data={folder}", "seed=1"), "target") != numbers(batches, "target")


@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 0), (3, 1), (6, 0)])
def test_stream_is_the_same_for_any_ranks_and_workers(
    folder: Path, ranks: int, workers: int
) -> None:
    words = (f"data={folder}", "data.resize=[20,24]", "data.flip=true", "data.color_jitter=0.3")
    for a, b in zip(stream(*words), stream(*words, ranks=ranks, workers=workers), strict=True):
        assert all(torch.equal(a[field], b[field]) for field in a)


def test_stream_goes_on_from_any_position(folder: Path) -> None:
    words = (f"data={folder}", "data.flip=true", "data.color_jitter=0.3")
    for a, b in zip(stream(*words)[5:], stream(*words, ranks=2, start=30), strict=True):
        assert all(torch.equal(a[field], b[field]) for field in a)


def test_augmentations_are_independent(tmp_path: Path) -> None:
    """The same pictures on both sides are mirrored and cropped each for itself."""
    (tmp_path / "ramp").mkdir()
    for i in range(2):
        ramp = np.broadcast_to(np.arange(0, 240, 5, dtype=np.uint8)[None, :, None], (40, 48, 3))
        Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp" / f"{i}.png")
    place = tmp_path / "ramp"
    batches = stream(f"data.train={place}", f"data.train_target={place}", "data.flip=true")
    lefts, rights = (
        {n: torch.cat([b[n] for b in batches])[:, 0, x, 0].int() for n in batches[0]}
        for x in (0, -1)
    )
    mirrored = {n: (lefts[n] > rights[n]).double() for n in lefts}
    places = {n: torch.minimum(lefts[n], rights[n]).double() for n in lefts}
    for found in (mirrored, places):
        assert abs(torch.corrcoef(torch.stack([found["source"], found["target"]]))[0, 1]) < 0.3
        assert len(found["source"].unique()) > 1


def test_each_set_has_its_own_partitions(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^data\.partitions: found 2, allowed: at most 1"):
        assembled(f"data={folder}", "data.partitions=2")


def damaged(folder: Path, tmp_path: Path, name: str, sample: int) -> Path:
    """The folder's part `name`, packed, with a flipped byte in a sample."""
    prepare(folder / name, tmp_path / name, layout="images", progress=False)
    content = bytearray((tar := tmp_path / name / "s-000000.tar").read_bytes())
    content[int(np.load(tmp_path / name / "index.npz")["image_offset"][sample]) + 60] ^= 1
    tar.write_bytes(bytes(content))
    return tmp_path / name


def test_damaged_target_gives_way_to_another_and_leaves_the_sources(
    folder: Path, tmp_path: Path
) -> None:
    whole = stream(f"data={folder}")
    words = (
        f"data.train={folder / 'trainA'}",
        f"data.train_target={damaged(folder, tmp_path, 'trainB', 4)}",
    )
    broken = stream(*words)
    assert numbers(broken, "source") == numbers(whole, "source")
    for before, now in zip(numbers(whole, "target"), numbers(broken, "target"), strict=True):
        assert now == before if before != 4 else now != 4
    assert all(
        torch.equal(a["target"], b["target"])
        for a, b in zip(broken, stream(*words, ranks=3), strict=True)
    )
    named = {text for raw in assembled(*words).data.loader(0, 78, 0) for text in raw.damaged}
    assert len(named) == 1
    assert "trainB/s-000000.tar, sample 4 (04)" in named.pop()


def test_held_out_samples_meet_by_number(folder: Path, tmp_path: Path) -> None:
    data = assembled(f"data={folder}", f"data.validation={folder}").data.held_out
    assert data is not None
    view = SampleTransform({"source": KINDS["image"], "target": KINDS["image"]}, (16, 16), None)
    assert len(data) == 5
    damaged_samples: set[str] = set()
    raws = list(held_out_batches(data, view, range(5), 2, damaged=damaged_samples))
    assert not damaged_samples
    assert [p for raw in raws for p in raw.positions] == list(range(5))
    assert numbers([raw.fields for raw in raws], "source") == [0, 1, 2, 3, 4]
    assert numbers([raw.fields for raw in raws], "target") == [0, 1, 2, 0, 1]
    names = ("image", "image")
    sets = [Shards.open(damaged(folder, tmp_path, "testA", 3)), *data.domains[1:]]
    broken = Unpaired([sets[0], Shards.open(sets[1].folder)], names)
    raws = list(held_out_batches(broken, view, range(5), 2, damaged=damaged_samples))
    assert [p for raw in raws for p in raw.positions] == [0, 1, 2, 4]
    assert len(damaged_samples) == 1
    broken = Unpaired(
        [Shards.open(data.domains[0].folder), Shards.open(damaged(folder, tmp_path, "testB", 1))],
        names,
    )
    raws = list(held_out_batches(broken, view, range(5), 2, damaged=damaged_samples))
    assert numbers([raw.fields for raw in raws], "source") == [0, 1, 2, 3, 4]
    assert numbers([raw.fields for raw in raws], "target") == [0, 2, 2, 0, 2]


@pytest.mark.parametrize("side", ["A", "B"])
def test_damage_costs_its_own_sample_alone(
    folder: Path, tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "GANTRAIN_CACHE", str(tmp_path / "cache")
    )  # where nothing is known of the whole set
    places = {letter: str(folder / f"test{letter}") for letter in "AB"}
    places[side] = str(damaged(folder, tmp_path, f"test{side}", 1))
    words = (f"data.validation={places['A']}", f"data.validation_target={places['B']}")
    setup = assembled(f"data={folder}", *words)
    held_out = setup.make_held_out()
    assert held_out is not None
    panel: Any = held_out.metric_suite
    (record,) = (r for r in held_out.metrics(setup.method()) if r.name == "histogram")
    count = panel._sets["real"]["histogram"].features().count
    assert (record.n, count) == ((4, 3) if side == "A" else (5, 2))
    assert len(held_out.damaged) == 1


@pytest.mark.parametrize("swap", [False, True])
def test_metrics_see_each_source_and_each_target_once(folder: Path, swap: bool) -> None:
    sides = [str(folder / name) for name in ("testA", "testB")][:: -1 if swap else 1]
    setup = assembled(
        f"data={folder}", f"data.validation={sides[0]}", f"data.validation_target={sides[1]}"
    )
    held_out = setup.make_held_out()
    assert held_out is not None
    panel: Any = held_out.metric_suite
    for _ in range(2):  # the second time from what is remembered
        (record,) = (r for r in held_out.metrics(setup.method()) if r.name == "histogram")
        assert (record.n, panel._sets["real"]["histogram"].features().count) == (
            (3, 5) if swap else (5, 3)
        )
    assert record.null_n == record.n  # of seven targets that are trained on, as many as fakes
    assert (
        held_out.metric_suite.patches
        == MetricSuite(["swd"], torch.device("cpu"), {}, record.n).patches
    )


def test_a_run_keeps_to_both_sets(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    Image.new("RGB", (20, 40)).save(tmp_path / "other" / "trainB" / "new.png")
    words = (*CYCLEGAN, "run=x", "trackers=[]")
    run_here(*words, f"data={folder}", f"data.validation={folder}", "length=12")
    state = json.loads(next(Path("runs/x/checkpoints").glob("*/state.json")).read_text())
    assert len(state["fingerprint"].split()) == 2
    with pytest.raises(
        ValueError, match=r"^data\.train_target: .*trainB.* holds other data .*run=OTHER$"
    ):
        run_here(*words, f"data={tmp_path / 'other'}", f"data.validation={folder}", "length=24")
    # The same data under other names are the same.
    shutil.move(folder, tmp_path / "moved")
    apart = (
        f"data.train={tmp_path / 'moved' / 'trainA'}",
        f"data.train_target={tmp_path / 'moved' / 'trainB'}",
    )
    assert run_here(*words, *apart, "data.validation=null", "length=24") == "finished"


@pytest.mark.slow
def test_drawn_sets_are_of_other_drawings() -> None:
    setup = assembled("data=synthetic", "data.size=[32,32]")
    assert setup.data.held_out is not None
    assert [len(side) for side in setup.data.train.domains] == [400, 320]
    assert [len(side) for side in setup.data.held_out.domains] == [64, 48]
    assert (
        len(
            {
                side.fingerprint
                for data in (setup.data.train, setup.data.held_out)
                for side in data.domains
            }
        )
        == 4
    )
    raw = next(
        held_out_batches(
            setup.data.train,
            SampleTransform({"source": KINDS["image"], "target": KINDS["image"]}, (32, 32), None),
            range(8),
            8,
            damaged=set(),
        )
    )
    colours = {
        n: len({tuple(c) for c in raw.fields[n].reshape(-1, 3).tolist()}) for n in raw.fields
    }
    assert colours["source"] <= 10 < 1000 < colours["target"]  # maps, photographs


def test_sides_of_pairs_can_be_two_sets(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    for i in range(4):
        halves = [np.full((20, 20, 3), value, np.uint8) for value in (10 * i, 10 * i + 5)]
        Image.fromarray(np.concatenate(halves, 1)).save(tmp_path / "pairs" / f"{i}.png")
    place = tmp_path / "pairs"
    words = (
        f"data.train={place}",
        f"data.train_target={place}",
        "data.source=left",
        "data.target=right",
    )
    batches = stream(*words)
    assert set(numbers(batches, "source")) == set(numbers(batches, "target")) == set(range(4))
    assert numbers(batches, "source") != numbers(batches, "target")


def test_single_images_are_the_default_field(folder: Path) -> None:
    loaded = schema.load("cyclegan", [f"data={folder}"])
    assert (loaded.data.source, loaded.data.target) == ("image", "image")
    assert schema.load("pix2pix").data.source == "left"


REFUSED = {
    "targets of pairs": (
        ("data.unpaired=false", "data.target=x", "data.train_target=x"),
        r"^data\.train_target: found 'x'.*unpaired=true"
    ),
    "no targets": (("data=set/trainA",), r"^data\.train_target: not set; .*trainA and trainB; data=synthetic"),
    "no held-out targets": (
        ("data=set", "data.validation=set/testA"), r"^data\.validation_target: not set; .*testA and testB; data\.vali"
    ),
    "missing": (("data=nowhere",), r"^data\.train: no folder nowhere; "),
    "missing targets": (("data=set/trainA", "data.train_target=nowhere"), r"^data\.train_target: no folder nowhere"),
    "no such field": (
        ("data=set", "data.target=photo"), r"^data\.target: found 'photo', allowed: image .*train_target"
    ),
    "too small": (("data=set", "data.size=[32,16]"), r"^data\.size: found \[32, 16\].*data\.train has \[24, 30\]"),
    "metrics of pairs": (
        ("data=set", "evaluate.metrics=[histogram,l1,ssim]"), r"^evaluate\.metrics: l1, ssim need pairs; allowed"
    ),
    "method of pairs": (
        ("data=set", "data.size=[24,20]", "data.resize=[24,24]", "method={name: pix2pix, discriminator: pixel}"),
        r"^data\.unpaired: found true, pix2pix learns from pairs"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("folder")
def test_mistakes_are_told_in_a_line(case: str) -> None:
    words, says = REFUSED[case]
    with pytest.raises(ValueError, match=says) as caught:
        assembled(*words)
    assert "\n" not in str(caught.value)


def test_where_to_get_the_archives_is_told() -> None:
    with pytest.raises(ValueError, match=r"`gantrain download horse2zebra` makes data/horse2zebra"):
        RunSetup(schema.load("horse2zebra"), World("cpu"))


def test_the_way_back_starts_from_what_a_file_holds(folder: Path) -> None:
    """Generators hide sources in what 8 bits can't hold: an error of that would look far too good."""
    words = (
        *CYCLEGAN,
        f"data.train={folder}",
        f"data.validation={folder}",
        "length=12",
        "precision=fp64",
    )
    run_here(*words, "run=x")
    row = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()][-1]
    method, errors = gantrain.load("runs/x", "cpu").method.double(), []
    for i in range(SIZES["testA"][0]):
        source = torch.full((1, 3, 16, 16), 10 * i / 127.5 - 1, dtype=torch.float64)
        with torch.no_grad():
            fake = ((method.translate({"source": source}) + 1) * 127.5).round() / 127.5 - 1
            errors.append((method.networks["generator_back"](fake) - source).abs().mean().item())
    assert row["val_cycle_error"] == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.slow
def test_another_test_set_brings_its_own_targets(folder: Path) -> None:
    """The recipe's `validation_target` belongs to the recipe's sources."""
    words = (
        f"data.train={folder}",
        f"data.validation={folder / 'testA'}",
        f"data.validation_target={folder / 'testB'}",
    )
    run_here(*CYCLEGAN, *words, "length=6", "run=x")
    shutil.copytree(folder, "other")
    Path("other/testA/00.png").unlink()
    words = [
        "evaluate",
        "runs/x",
        "--data",
        "other",
        "--metrics",
        "histogram",
        "--device",
        "cpu",
        "--out",
        "found.json",
    ]
    assert CliRunner().invoke(app.app, words).exit_code == 0
    record, error = json.loads(Path("found.json").read_text())
    assert error["name"] == "cycle_error"
    assert (record["set"], record["n"]) == ("other", SIZES["testA"][0] - 1)


def test_one_folder_of_both_with_other_targets(folder: Path) -> None:
    setup = assembled(f"data.train={folder}", f"data.train_target={folder / 'testB'}")
    assert [len(side) for side in setup.data.train.domains] == [
        SIZES["trainA"][0],
        SIZES["testB"][0],
    ]


@pytest.mark.slow
def test_a_model_of_both_ways_goes_back_too(folder: Path) -> None:
    run_here(*CYCLEGAN, f"data.train={folder}", "length=6", "run=x")
    there, back = gantrain.load("runs/x", "cpu"), gantrain.load("runs/x", "cpu", back=True)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        made = (
            ((there.method.networks["generator_back"](x) + 1) * 127.5)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
        )
    np.testing.assert_allclose(
        back.translate(image), made[0].permute(1, 2, 0).numpy(), atol=1
    )  # a level
    assert (there.translate(image) != back.translate(image)).any()
    run_here(*SMALL, "batch_size=8", "length=8", "run=one_way")
    with pytest.raises(
        ValueError,
        match=r"^back: found a pix2pix model from labels, allowed: one of cyclegan between",
    ):
        gantrain.load("runs/one_way", "cpu", back=True)
