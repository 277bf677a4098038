"""The benchmarks run and write what they promise; what they measure here means nothing."""

import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, run_here

from gantrain.bench.repeats import spread
from gantrain.bench.training_loops import Plain, Trained, cycle, float_batch
from gantrain.core.world import World
from gantrain.data.batch import normalise
from gantrain.data.decode import encode
from gantrain.data.kinds.table import KINDS
from gantrain.data.loader import held_out_batches
from gantrain.data.transforms import SampleTransform
from gantrain.recipe import schema as recipes
from gantrain.training.setup import RunSetup

CPU = torch.device("cpu")
TINY = ("recipe=quickstart", *SMALL, "batch_size=2")


def run(name, tmp_path, *arguments):
    """The JSON that a benchmark leaves, checked for what all of them hold."""
    script = ROOT / "benchmarks" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments, "--repeats=2", f"--out={tmp_path / 'out'}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "out").glob(f"{name}-*.json")
    text = file.read_text()
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert "\n| --- |" in done.stdout
    assert file.with_suffix(".png").exists() == (importlib.util.find_spec("matplotlib") is not None)
    content = json.loads(text)
    assert content["hardware"]["cores"] >= 1
    assert content["versions"]["torch"]
    assert content["rows"]
    for row in content["rows"]:
        rate = row.get("images/s") or row["samples/s"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert len(rate["repeats"]) == 2
    return content


@pytest.mark.slow
def test_throughput_measures_the_step_the_grid_and_the_plain_loop(tmp_path):
    content = run("throughput", tmp_path, *TINY, "--baseline=plain", "--grid", "--steps=1")
    assert content["recipes"]["quickstart"]["data"]["train"] == "synthetic"
    rows = content["rows"]
    settings = {(r["precision"], r["channels_last"]) for r in rows if r["loop"] == "gantrain"}
    assert settings == {(p, c) for p in ("fp32", "bf16") for c in (True, False)}
    plain = {row["batch"]: row["images/s"]["median"] for row in rows if row["loop"] == "plain"}
    assert sorted(plain) == [1, 2]
    for row in (row for row in rows if row["loop"] == "gantrain"):
        rate = row["images/s"]["median"]
        assert row["x plain"] == pytest.approx(rate / plain[2], rel=1e-2)
        assert row["x plain at 1"] == pytest.approx(rate / plain[1], rel=1e-2)
        assert row["TFLOP/s"] == pytest.approx(rate * row["GFLOP/image"] / 1e3, rel=1e-3)
        assert row["of peak"] == pytest.approx(
            row["TFLOP/s"] / row["convolution TFLOP/s"]["median"], abs=1e-3
        )
        parts = [[1e3 * 2 / r for r in row["images/s"]["repeats"]]]  # milliseconds of a step
        parts += [row[f"{name} ms"]["repeats"] for name in ("generator", "discriminator", "other")]
        for whole, *phases in zip(*parts, strict=True):
            assert sum(phases) == pytest.approx(whole, rel=1e-2)
        assert 0 <= row["data wait"] <= 1


def test_variants_are_all_combinations(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from contenders import variants

    assert variants([]) == [[]]
    assert variants(["batch_size=1,2", "data.size=[8,8],[8,16]"])[1] == [
        "batch_size=1",
        "data.size=[8,16]",
    ]
    assert variants(["method.generator={name: unet, width: 2},resnet"])[1] == [
        "method.generator=resnet"
    ]
    with pytest.raises(ValueError, match="--vary: found precision"):
        variants(["precision"])


def test_more_devices_compare_with_fewest_at_the_same_batch_or_share(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import ratios

    def row(devices, batch, rate):
        return {
            "loop": "gantrain",
            "devices": devices,
            "threads": 1,
            "batch": batch,
            "images/s": spread([rate]),
        }

    for weak, share in ((False, 8), (True, 4)):
        rows = [row(1, 4, 10.0), row(1, 8, 11.0), row(2, 8, 15.0)]
        ratios.across(rows, weak)
        base = 11.0 if share == 8 else 10.0
        assert rows[2]["x 1 device"] == pytest.approx(15 / base, abs=1e-3)
        assert rows[2]["efficiency"] == pytest.approx(7.5 / base, abs=1e-3)
        assert "efficiency" not in rows[0]


def multiplications(networks, run):
    """Multiply-adds of each network's convolutions in `run`, and of its first alone, from the
    shapes.
    """
    found, hooks = {}, []
    for name, network in networks.items():
        convolutions = [
            m
            for m in network.modules()
            if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        ]
        found[name] = [0] * len(convolutions)

        def count(module, inputs, output, counts=found[name], order=convolutions):
            # Each weight meets each place of the output; of a transposed convolution, of the input.
            places = (inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output).shape
            counts[order.index(module)] += module.weight.numel() * places[2] * places[3]

        hooks += [m.register_forward_hook(count) for m in convolutions]
    run()
    for hook in hooks:
        hook.remove()
    return {name: (sum(counts), counts[0]) for name, counts in found.items()}


@pytest.mark.exhaustive
def test_flops_are_those_of_the_formula(monkeypatch):
    """pix2pix at 256: 3 passes of the U-Net's 6.05 GMAC and 8 of the PatchGAN's 3.20 (generator
    first).

    But for the gradients to the images themselves, which nothing needs: those of a first layer in
    training.
    """
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from measuring import flops_per_image

    world = World("cpu")
    small = ["data.resize=[256,256]", "data=synthetic", "precision=fp32", "device=cpu"]
    small += ["method.generator.levels=8", "method.generator.upsample=transpose"]  # the paper's
    setup = RunSetup(recipes.load("pix2pix", small), world)
    networks = setup.method().networks
    images = torch.zeros(1, 3, 256, 256)
    run = torch.no_grad()(
        lambda: (
            networks["generator"](images),
            networks["discriminator"](torch.cat([images] * 2, 1)),
        )
    )
    macs = multiplications(networks, run)
    (generator, first_g), (discriminator, first_d) = macs["generator"], macs["discriminator"]
    assert generator / 1e9 == pytest.approx(6.05, abs=5e-3)
    assert discriminator / 1e9 == pytest.approx(3.20, abs=5e-3)
    assert (3 * generator + 8 * discriminator) / 1e9 == pytest.approx(43.8, abs=0.1)
    assert cycle(setup) == 1
    assert flops_per_image(setup) == 2 * (3 * generator + 8 * discriminator - first_g - 2 * first_d)
    first = RunSetup(recipes.load("pix2pix", [*small, "method.order=discriminator_first"]), world)
    assert flops_per_image(first) == flops_per_image(setup)  # one forward serves both turns
    pieces = RunSetup(
        recipes.load("pix2pix", [*small, "method.order=discriminator_first", "micro_batch_size=1"]),
        world,
    )
    # Of several micro-batches, the step keeps no graphs, so that the generator runs twice.
    assert flops_per_image(pieces) - flops_per_image(setup) == 2 * generator


def test_flops_of_what_is_not_due_in_each_step_are_shared_out(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from measuring import flops_per_image

    found = {}
    for every in (1, 4):
        settings = [
            *SMALL,
            f"method.penalties=[{{name: r1, interval_steps: {every}}}]",
            "data=synthetic",
        ]
        setup = RunSetup(recipes.load("quickstart", settings), World("cpu"))
        assert cycle(setup) == every
        found[every] = flops_per_image(setup)
    bare = flops_per_image(
        RunSetup(recipes.load("quickstart", [*SMALL, "data=synthetic"]), World("cpu"))
    )
    assert found[1] - bare == pytest.approx(4 * (found[4] - bare), rel=1e-6)


def test_peak_memory_is_what_came_on_top(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from measuring import PeakMemory

    memory = PeakMemory(CPU)
    if memory.gib() is None:
        pytest.skip("this system tells no peak")
    gib = torch.ones(2**28).sum() / 2**28  # float32: 1 GiB, gone again
    assert gib == 1
    assert memory.gib() == pytest.approx(1, abs=0.1)
    assert PeakMemory(CPU).gib() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("plain_images", [0, 1], ids=["gantrain", "plain"])
def test_the_peak_has_the_floating_point_operations_of_the_step(
    precision, plain_images, monkeypatch
):
    """These networks have no matrix products beside their convolutions."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from convolutions import DTYPES, ConvolutionPasses, record_step
    from measuring import flops_per_image

    settings = [*SMALL, "batch_size=2", "data=synthetic", f"precision={precision}"]
    setup = RunSetup(recipes.load("quickstart", settings), World("cpu"))
    recorded = record_step(setup, plain_images)
    passes = ConvolutionPasses(recorded, precision, channels_last=True, device=CPU)
    images = plain_images or 2
    expected = images * flops_per_image(setup, plain=bool(plain_images)) / 1e12
    assert passes.tflop == pytest.approx(expected, rel=1e-9)
    # Three levels down and up, and a discriminator of four layers, of which two have shapes of the
    # generator's.
    assert len({one.weight for one in recorded}) == 3 + 3 + 2
    assert {tensor.dtype for tensor in passes.tensors.values()} == {DTYPES[precision]}
    assert all(
        tensor.is_contiguous(memory_format=torch.channels_last)
        for tensor in passes.tensors.values()
    )


def test_the_peak_of_all_networks_is_recorded(monkeypatch):
    """CycleGAN has four networks; its generators run in both directions and around the cycle."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from convolutions import record_step
    from measuring import flops_per_image

    keys = ["batch_size=1", "data=synthetic", "data.size=[32,32]", "data.resize=null"]
    keys += ["precision=fp32", "device=cpu", "threads=1", "data.workers=0"]
    keys += ["method.generator={name: resnet, width: 4, blocks: 1}"]
    keys += ["method.discriminator={name: patchgan, width: 4, layers: 1}", "trackers=[]"]
    setup = RunSetup(recipes.load("cyclegan", keys), World("cpu"))
    recorded = record_step(setup)
    forward = [one for one in recorded if one.output is None]
    # The generators, of 8 convolutions, run three times: on sources and targets, on targets with
    # the fakes and the sources, and on the other fakes. Each discriminator, of 3, judges fakes in
    # the generators' turn, and fakes and real images in its own.
    assert len(forward) == 3 * 8 + 2 * 3 * 3
    assert flops_per_image(setup) > 0


@pytest.mark.exhaustive
def test_throughput_starts_its_own_ranks(tmp_path):
    content = run("throughput", tmp_path, *TINY, "--devices=1,2", "--steps=1", "--per-device=2")
    one, two, alone = content["rows"]
    assert [row["devices"] for row in content["rows"]] == [1, 2, 2]
    assert [row["batch"] for row in content["rows"]] == [2, 4, 4]
    assert alone["loop"] == "no exchange"
    assert two["efficiency"] == pytest.approx(two["x 1 device"] / 2, abs=1e-3)
    assert {"exchange", "checkpoint s"} <= two.keys()
    assert "exchange" not in one


@pytest.mark.slow
def test_the_plain_loop_refuses_what_it_does_not_train(tmp_path):
    script = str(ROOT / "benchmarks" / "throughput.py")
    command = [sys.executable, script, *TINY, "method.pool=4", "--baseline=plain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "throughput: --baseline: found pix2pix, pool" in done.stderr


@pytest.mark.slow
def test_dataloading_compares_shards_and_files_at_each_stage(tmp_path):
    sizes = ("--size=32", "--load-size=36", "--samples=6", "--pairs=8", "--batch=4")
    rows = run("dataloading", tmp_path, *sizes, "--workers=0")["rows"]
    sources = list(dict.fromkeys(row["from"] for row in rows))
    assert {"shards", "webdataset", "files"} <= {*sources}
    assert [row["from"] for row in rows] == sources * 3
    assert len({row["images"] for row in rows}) == 3
    assert all(("x files" in row) == (row["from"] != "files") for row in rows)


@pytest.mark.exhaustive
def test_dataloading_takes_each_format_from_each_place_and_cache(tmp_path):
    sizes = (
        "--size=32",
        "--samples=12",
        "--pairs=8",
        "--batch=4",
        "--load-size=36",
        "--workers=0,1",
    )
    grid = ("--stages=kept", "--formats=png,png16", "--places=local,http", "--caches=warm,cold")
    rows = run("dataloading", tmp_path, *sizes, *grid, "--sources=shards,webdataset,files")["rows"]
    assert len(rows) == 2 * 2 * 2 * 2 * 3
    assert all(row["CPU ms a sample"]["median"] > 0 for row in rows)


def test_cold_files_are_not_in_the_page_cache(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import packing

    for name in ("one", "two"):
        (tmp_path / name).write_bytes(os.urandom(1 << 20))
    try:
        assert packing.cached_share(tmp_path) == 1
    except (AttributeError, OSError):
        pytest.skip("this system does not tell what it has cached")
    packing.drop([tmp_path])
    if packing.cached_share(tmp_path):
        pytest.skip("these files are in memory only (tmpfs)")
    (tmp_path / "one").read_bytes()
    assert packing.cached_share(tmp_path) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("form", ["jpg", "png", "png16"])
def test_all_loaders_show_the_same_pixels(form, tmp_path, monkeypatch):
    """What the comparison rests on: without chance the tensors are the same."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import dataloading
    import loaders
    import packing

    packing.gather(
        SimpleNamespace(images=None, shards=None, samples=2, size=32), tmp_path / "given", form
    )
    data = dataloading.Set(tmp_path / "given", tmp_path / "data", None, form.rstrip("16"))
    fields = data.shards.fields
    monkeypatch.setattr(loaders.random, "random", lambda: 0.0)  # no mirroring
    sources = [
        "webdataset",
        "files",
        *["torchvision"] * bool(importlib.util.find_spec("torchvision")),
    ]
    for size, resize in ((32, None), (36, 36)):
        shown = SampleTransform(
            {"left": KINDS["image"], "right": KINDS["image"]},
            (size, size),
            resize and (resize, resize),
        )
        (raw,) = held_out_batches(data.shards, shown, range(2), 2, damaged=set())
        ours = {
            name: normalise(raw.fields[name], fields[name], torch.float32, CPU) for name in fields
        }
        for source in sources:
            view = loaders.View(size, resize, batch=2, workers=0, total=2)
            loop = data.loop(source, str(tmp_path / "data"), view, form == "png16", tmp_path)
            theirs = next(loop())
            # Torch rounds the weights of 8 bits otherwise than Pillow, and torchvision's otherwise
            # than both: by 2 levels at most.
            rounds = form != "png16" or source == "torchvision"
            near = 0.02 if resize and rounds else 2e-5
            for name in fields:
                # Of 16 bits Pillow keeps what overshoots; ours has the range of the image.
                low, high = (
                    end(ours[name], (1, 2, 3), keepdim=True) for end in (torch.amin, torch.amax)
                )
                # They shuffle: as it is, or the other way round.
                straight, swapped = (
                    (torch.clamp(both, low, high) - ours[name]).abs().max()
                    for both in (theirs[name], theirs[name].flip(0))
                )
                assert min(straight, swapped) <= near, (source, size, name)


def test_the_plain_loop_computes_the_same_losses():
    """With gantrain's turns in the same order, step by step."""
    settings = [*SMALL, "batch_size=2", "method.order=discriminator_first", "data=synthetic"]
    setup = RunSetup(recipes.load("quickstart", settings), World("cpu"))
    ours, plain, batch = Trained(setup), Plain(setup), float_batch(setup, 2)
    for _ in range(3):
        ours()
        means = ours.engine.meters.means()
        theirs = plain.train(batch["source"], batch["target"])
        assert [means[n] for n in ("d", "gan", "l1")] == pytest.approx(theirs, rel=1e-3)


def plainly(name, tmp_path, *arguments):
    """The JSON of a benchmark without rates of interleaved repeats."""
    script = ROOT / "benchmarks" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments, f"--out={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "out").glob("*.json")
    assert str(tmp_path) not in file.read_text()
    return json.loads(file.read_text())


@pytest.mark.exhaustive
def test_fid_compares_devices_over_images_and_time(tmp_path):
    words = [word for word in SMALL if not word.startswith("trackers")]
    arguments = (
        "recipe=quickstart",
        *words,
        "batch_size=8",
        "length=40",
        "evaluate.max_samples=8",
        "data=synthetic",
    )
    content = plainly(
        "fid",
        tmp_path,
        *arguments,
        "--devices=1,2",
        "--seeds=0",
        "--points=2",
        "--metric=fd_random0",
    )
    assert content["benchmark"] == "fid-fd_random0"
    rows = content["rows"]
    assert [(row["images"], row["devices"]) for row in rows] == [(16, 1), (16, 2), (32, 1), (32, 2)]
    for row in rows:
        assert row["lowest"] <= row["fd_random0"] <= row["highest"]
        assert row["null"] > 0
    assert {row["seed"] for row in content["runs"]} == {0}
    for devices in (1, 2):  # the same images give about the same model
        one, other = (row["fd_random0"] for row in rows if row["images"] == (16, 32)[devices - 1])
        assert one == pytest.approx(other, rel=0.05)
    seconds = [row["train_seconds"] for row in rows]
    assert seconds[0] < seconds[2]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_variants_train_and_compare(tmp_path):
    keys = (
        "length=4 images",
        "evaluate.every=2",
        "evaluate.metrics=[l1]",
        "evaluate.best_by=l1",
        "trackers=[]",
    )
    variants = ("--variant=few", "--variant=more method.generator.width=6")
    content = plainly("variants", tmp_path, *TINY, *keys, *variants)
    assert [row["variant"] for row in content["rows"]] == ["few", "more"]
    assert content["recipes"]["more"]["method"]["generator"]["width"] == 6
    assert [row["images"] for row in content["marks"]] == [2, 4, 2, 4]
    assert content["rows"][1]["l1"] == content["marks"][-1]["l1"]


def test_variants_are_averaged_over_seeds_at_the_last_mark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from variants import average

    marks = []
    for seed, first, last in ((0, 5.0, 1.0), (1, 7.0, 2.0)):
        marks.append({"variant": "few", "seed": seed, "images": 2, "l1": first})
        marks.append({"variant": "few", "seed": seed, "images": 4, "l1": last})
    assert average(marks) == [{"variant": "few", "images": 4, "seeds": 2, "l1": 1.5}]


@pytest.mark.slow
def test_variants_need_a_name_and_valid_keys(tmp_path):
    script = str(ROOT / "benchmarks" / "variants.py")
    for arguments, reason in (
        (["--variant=method.losses.l1=1"], "the name first"),
        (["--variant=few", "--variant=more method.l7=1"], "method.l7"),
    ):
        command = [sys.executable, script, *TINY, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert reason in done.stderr + done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_fid_refuses_what_it_cannot_compare(tmp_path):
    script = str(ROOT / "benchmarks" / "fid.py")
    for words, says in [
        (
            ["recipe=quickstart", "length=2 epochs"],
            "length: found '2 epochs', which depends on the data",
        ),
        (["batch_size=8"], "recipe: name one"),
        (["recipe=quickstart", "length=80", "--metric=fdi"], "evaluate.metrics.0: found 'fdi'"),
    ]:
        done = subprocess.run(
            [sys.executable, script, *words], capture_output=True, text=True, timeout=100
        )
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr


@pytest.mark.exhaustive
def test_evaluation_measures_time_and_memory(tmp_path):
    content = plainly(
        "evaluation",
        tmp_path,
        "--images=8",
        "--size=32",
        "--repeats=1",
        "--features=300x16",
        "--distances=fd,kd",
    )
    loops = {row["loop"]: row["images/s"]["median"] for row in content["rows"] if "loop" in row}
    assert set(loops) == {"gantrain", "torch-fidelity"}
    assert min(loops.values()) > 0
    distances = {row["distance"]: row["seconds"] for row in content["rows"] if "distance" in row}
    assert set(distances) == {"fd", "kd"}


@pytest.mark.exhaustive
def test_evaluation_measures_folders(tmp_path):
    for number, name in enumerate(("real", "fake")):
        (tmp_path / name).mkdir()
        random = np.random.default_rng(number)
        for i in range(6):
            array = random.integers(0, 256, (32, 32, 3), np.uint8)
            (tmp_path / name / f"{i}.png").write_bytes(encode(array, "png"))
    content = plainly(
        "evaluation",
        tmp_path,
        f"--real={tmp_path / 'real'}",
        f"--fake={tmp_path / 'fake'}",
        "--repeats=1",
    )
    ratios = {row["loop"]: row["x torch-fidelity"] for row in content["rows"]}
    assert set(ratios) == {"gantrain, first", "gantrain, features remembered", "torch-fidelity"}
    assert ratios["torch-fidelity"] == 1


@pytest.mark.exhaustive
def test_translation_compares_loops(tmp_path):
    """The model of a run of two steps, on drawn images."""
    words = [word for word in SMALL if not word.startswith("trackers")]
    pairs = ("data.labels={}", "data.source=left", "data.target=right")
    run_here(*words, *pairs, "batch_size=4", "length=8", "data=synthetic", "run=x")
    (tmp_path / "in").mkdir()
    for i in range(3):
        array = np.random.default_rng(i).integers(0, 256, (40, 32, 3), np.uint8)
        (tmp_path / "in" / f"{i}.png").write_bytes(encode(array, "png"))
    content = plainly(
        "translation",
        tmp_path,
        "runs/x",
        str(tmp_path / "in"),
        "--repeats=1",
        "--batch-sizes=2",
        "--precisions=fp32,bf16",
    )
    rows = {(row["loop"], row["batch"], row["precision"]) for row in content["rows"]}
    assert rows == {("plain", 1, "fp32"), ("gantrain", 2, "fp32"), ("gantrain", 2, "bf16")}


@pytest.mark.slow
def test_launches_counts_the_parts_of_a_step(tmp_path):
    script = str(ROOT / "benchmarks" / "launches.py")
    command = [sys.executable, script, *TINY, "--vary=precision=fp32,bf16", f"--out={tmp_path}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("launches-*.json")
    rows = json.loads(file.read_text())["rows"]
    for precision in ("fp32", "bf16"):
        counts = {r["part"]: r["launches"] for r in rows if r["precision"] == precision}
        assert list(counts) == ["generator", "discriminator", "ema", "other", "all"]
        assert counts["ema"] == 1
        assert counts["all"] == sum(counts.values()) - counts["all"]
        casts = [r["casts to bf16"] for r in rows if r["precision"] == precision]
        assert (casts[-1] > 0) == (precision == "bf16")
