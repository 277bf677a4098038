"""`init_from` and `freeze`: where a run's weights come from, and which of them stay as they are."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from comparing import assert_close, assert_identical, tensors
from conftest import SMALL, launch, run_here

B = 8  # batch
RUN = (
    *SMALL,
    f"batch_size={B}",
    "length=16",
    "evaluate.max_samples=4",
    "previews.samples=1",
    "ema.half_life=64",
)
STILL = "optimizer.lr=1e-30"  # the run ends with the weights it began with
BARE = tuple(word for word in RUN if not word.startswith("method."))


def pix2pixhd(enhancer: bool) -> str:
    generator = f"{{name: coarse_to_fine, width: 4, downsampling: 2, blocks: 1, enhancer: {str(enhancer).lower()}}}"
    discriminator = f"{{name: multiscale_patchgan, width: 4, layers: 1, scales: {2 + enhancer}}}"
    return f"method={{name: pix2pixhd, losses: {{perceptual: 0}}, generator: {generator}, discriminator: {discriminator}}}"


def assert_same(
    a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], names: dict[str, str]
) -> None:
    """The tensors of `a` below each name are those of `b` below the other; there are some."""
    for ours, theirs in names.items():
        below = [key for key in a if key.startswith(f"{ours}/") or key.startswith(f"{ours}.")]
        assert below
        for key in below:
            assert torch.equal(a[key], b[theirs + key.removeprefix(ours)]), key


@pytest.mark.slow
def test_a_run_begins_at_another_ones_weights(capsys: pytest.CaptureFixture[str]) -> None:
    """At the generator's average, which is what was seen of it; the discriminator has none."""
    run_here(*RUN, "run=first")
    first = tensors("first", 16)
    assert any(
        not torch.equal(t, first[k.replace("ema/", "networks/")])
        for k, t in first.items()
        if "ema/" in k
    )
    from_run = {"networks/generator": "ema/generator", "ema/generator": "ema/generator"}
    from_run["networks/discriminator"] = "networks/discriminator"
    for source in ("runs/first", "runs/first/checkpoints/000000016"):
        capsys.readouterr()
        run_here(*RUN, STILL, f"run={Path(source).name}-on", f"init_from={source}", "seed=1")
        assert_same(tensors(f"{Path(source).name}-on", 16), first, from_run)
        assert f"init_from: generator: 12 of 12 tensors from {source}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_what_fits_is_placed_and_the_rest_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run_here(*RUN, "run=first")
    run_here(*RUN, STILL, "run=fresh", "method.discriminator.width=4", "seed=1")
    capsys.readouterr()
    run_here(
        *RUN, STILL, "run=second", "method.discriminator.width=4", "init_from=runs/first", "seed=1"
    )
    second = tensors("second", 16)
    assert_same(second, tensors("first", 16), {"networks/generator": "ema/generator"})
    fresh = {
        key: tensor
        for key, tensor in tensors("fresh", 16).items()
        if key.startswith("networks/discriminator/")
    }
    for key, tensor in fresh.items():  # the rate of 1e-30 moves zeros
        assert tensor.numel() == 1 or (second[key] - tensor).abs().max() < 1e-20
    expected = "discriminator: 1 of 8 tensors from runs/first; not there, or of another shape: scales.0.0.0.weight, "
    expected += "scales.0.0.0.bias, scales.0.1.0.weight ..."
    assert f"init_from: {expected}\n" in capsys.readouterr().out
    rows = [json.loads(line) for line in Path("runs/second/metrics.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "images_seen": 0,
        "init_from": ["generator: 12 of 12 tensors from runs/first", expected],
    }


@pytest.mark.slow
def test_pix2pixhd_in_two_stages() -> None:
    """The paper's: the global generator first, then the local enhancer around it while that
    stays as it is.
    """
    run_here(*BARE, pix2pixhd(enhancer=False), "run=coarse")
    decaying = ("optimizer.name=adamw", "optimizer.weight_decay=0.1")
    still = ("init_from=runs/coarse", "freeze=[generator.coarse]")
    run_here(*BARE, pix2pixhd(enhancer=True), *still, *decaying, "run=fine")
    coarse, fine = tensors("coarse", 16), tensors("fine", 16)
    kept = {
        "networks/generator/coarse": "ema/generator/coarse",
        "ema/generator/coarse": "ema/generator/coarse",
    }
    assert_same(fine, coarse, kept)
    assert not any("generator.coarse" in key for key in fine if key.startswith("optimizers/"))
    run_here(*BARE, pix2pixhd(enhancer=True), *still, STILL, "run=start")
    start = tensors("start", 16)
    learnt = {
        key
        for key in fine
        if key.startswith("networks/") and not torch.equal(fine[key], start[key])
    }
    # A bias before a norm has no gradient, but rounding's.
    expected = {key for key in fine if key.startswith("networks/") and "/coarse." not in key}
    assert {key for key in expected - learnt if not key.endswith("bias")} == set()
    assert learnt <= expected


MISTAKES = {
    ("init_from=runs/none",): "init_from: checkpoint: found none at runs/none; give runs/NAME",
    ("init_from=text.pth",): r"init_from: import: text.pth can't be read as tensors by name \(.*\); give",
    ("freeze=[generatr]",): "freeze: found 'generatr', allowed: generator, discriminator, or more",
    ("freeze=[generator.down]",): r"freeze: found 'generator.down', allowed: generator.downs, generator.ups, or more",
    ("freeze=[generator.ups]", "optimizer.lr_factors.generator.ups=0.1"): "optimizer.lr_factors: .* stays as it is;",
    ("freeze=[discriminator.scales]",): "freeze: .* the phase discriminator nothing to train; allowed: a part of disc",
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told_before_anything_is_made(words: tuple[str, ...]) -> None:
    Path("text.pth").write_text("no weights")
    with pytest.raises(ValueError, match=f"^{MISTAKES[words]}") as raised:
        run_here(*RUN, *words)
    assert "\n" not in str(raised.value)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_weights_of_which_nothing_fits_are_refused() -> None:
    """Or nothing but a last layer's biases, as with another width."""
    run_here(*RUN, "run=first")
    other = ("method.generator.width=4", "method.discriminator.width=4")
    for words in ((*RUN, *other), (*BARE, "method={name: survey}", "data.size=[64,64]")):
        with pytest.raises(
            ValueError, match="init_from: no weight in runs/first fits, found discriminator, gen"
        ) as e:
            run_here(*words, "run=second", "init_from=runs/first")
        assert "\n" not in str(e.value)
    assert not Path("runs/second").exists()


TRANSFER = ("init_from=runs/first", "freeze=[generator.downs.0,discriminator.scales.0.0]",
            "optimizer.weight_decay=0.1")  # fmt: skip


@pytest.mark.slow
def test_resumed_is_bit_identical_without_the_first_weights() -> None:
    run_here(*RUN, "run=first")
    words = (*RUN, *TRANSFER, "length=32")
    run_here(*words, "run=whole")
    run_here(*words, "run=parts", "length=16")
    shutil.rmtree("runs/first")
    assert run_here(*words, "run=parts") == "finished"
    assert_identical(tensors("whole", 32), tensors("parts", 32))
    for changed in ("freeze=[]", "init_from=null"):
        with pytest.raises(
            ValueError, match=f"started with another recipe.*\n  {changed.split('=')[0]}"
        ):
            run_here(*words, "run=parts", "length=48", changed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_begin_alike_and_keep_still_what_is_frozen(ranks: int) -> None:
    """The average too, of which each rank has its own copy: it tells in the metrics."""
    exact = (
        *RUN,
        "precision=fp64",
        "evaluate.max_samples=7",
        "method.generator.norm=none",
        "method.discriminator.norm=none",
    )
    run_here(*exact, "run=first")
    run_here(*exact, *TRANSFER, "run=one", "seed=1")
    output = launch(ranks, *exact, *TRANSFER, "run=more", "seed=1")
    assert output.count("init_from: generator: 12 of 12") == 1
    assert_close(tensors("more", 16), tensors("one", 16), 1e-9)
    assert_same(
        tensors("more", 16),
        tensors("first", 16),
        {"networks/generator/downs.0": "ema/generator/downs.0"},
    )
    one, more = (
        json.loads(Path(f"runs/{r}/metrics.jsonl").read_text().splitlines()[-1])
        for r in ("one", "more")
    )
    assert more["val_l1"] == pytest.approx(one["val_l1"], abs=1e-9)


@pytest.mark.slow
def test_ranks_leave_together_where_nothing_is_there() -> None:
    with pytest.raises(
        AssertionError,
        match="gantrain: init_from: checkpoint: found none at runs/none; give runs/NAME",
    ):
        launch(2, *RUN, "init_from=runs/none")
