"""DeepSpeed's ZeRO-1 and ZeRO-2 train as DDP does, and take one another's checkpoints."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import assert_close, tensors
from conftest import launch, run_here
from small_methods import EXACT_VARIANTS, SHORT_RUN, SMALL_METHODS, full_method, method_words

from gantrain.recipe import schema
from gantrain.training import zero
from gantrain.training.launcher import agree_with_launcher

ENGINES = {0: "engine: DDP", 1: "engine: DeepSpeed's ZeRO-1", 2: "engine: DeepSpeed's ZeRO-2"}
# Without norms, CUT's own first weights leave nearly nothing of the features. PatchNCE scales them
# to length 1, and their rounding noise with them. These weights keep the features' size.
KAIMING = ("method.generator.init=kaiming",)
# Changes of the small methods. Spectral norm's vectors carry the last bits of a step into the next,
# 2e-6 after four, and SPADE's encoder of styles always has spectral norm.
ZERO_WITH = {
    "pix2pix": ("method.pool=16", "method.penalties=[{name: r1, interval_steps: 2}]"),
    "cut": KAIMING,
    "fastcut": KAIMING,
    "pix2pixhd": ("method.generator.enhancer=false",),
    "spade": (
        "method.style=none",
        "method.augment=[]",
        "method.discriminator.init=xavier",
        "method.discriminator.zero_bias=true",
    ),
}
RUN = (*SHORT_RUN, "batch_size=8", "length=32", "evaluate.every=32", "evaluate.max_samples=6",
       "previews.every=32", "checkpoint.every=16", "checkpoint.keep=9")  # fmt: skip


def without_norms(options: Any) -> Any:
    """Return options of a method or of a network without norms and without spectral norms.

    Adam blows up the rounding noise of a bias before a norm, which has no gradient.
    """
    if isinstance(options, list):
        return [without_norms(item) for item in options]
    if not isinstance(options, dict):
        return options
    changed = {key: without_norms(value) for key, value in options.items()}
    if "norm" in changed:
        changed["norm"] = "none"
    if "spectral_norm" in changed:
        changed["spectral_norm"] = False
    return changed


def zero_words(name: str) -> tuple[str, ...]:
    """Return the overrides of a small method without norms."""
    return (*method_words(name, **without_norms(full_method(name))), *ZERO_WITH.get(name, ()))


CASES = {name: zero_words(name) for name in (*SMALL_METHODS, *EXACT_VARIANTS)}
GRADIENTS = {
    "pix2pix": (*method_words("pix2pix"), *ZERO_WITH["pix2pix"]),
    "survey": CASES["survey"],
}

installed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None or shutil.which("g++") is None,
    reason="DeepSpeed or g++ is not installed: pip install -e '.[test,deepspeed]'",
)


def launched(ranks: int, stage: int, *arguments: str) -> None:
    """Train, and make sure that it is the engine that was asked for."""
    output = launch(ranks, *arguments, f"zero_stage={stage}", torchrun=True)
    assert ENGINES[stage] in output


def gradients(run: str) -> torch.Tensor:
    """Of the first step: Adam's first moment after it is their tenth or half."""
    moments = {k: v for k, v in tensors(run, 8).items() if k.endswith("/exp_avg")}
    return torch.cat([moments[name].flatten() for name in sorted(moments)]).double()


def assert_engines_agree(stage: int, *arguments: str) -> None:
    """Whole runs (`ddp` and `zero`), and runs that one engine begins and the other ends, all on
    two ranks.
    """
    launched(2, 0, *arguments, "run=ddp")
    launched(2, stage, *arguments, "run=zero")
    assert_close(tensors("ddp", 32), tensors("zero", 32), 1e-6)
    for first, second in ((0, stage), (stage, 0)):
        launched(2, first, *arguments, f"run=from{first}", "length=16")
        launched(2, second, *arguments, f"run=from{first}")
        assert_close(tensors("ddp", 32), tensors(f"from{first}", 32), 1e-6)


@installed
@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("method", CASES)
def test_zero_and_ddp_go_on_with_one_anothers_checkpoints(method: str, stage: int) -> None:
    """Fused Adam rounds a tensor's tail otherwise, and a share ends elsewhere: last bits differ."""
    arguments = (*RUN, *CASES[method])
    assert_engines_agree(stage, *arguments)


@installed
@pytest.mark.exhaustive
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("method", GRADIENTS)
def test_first_gradients_agree_over_ranks_micro_batches_and_engines(
    method: str, ranks: int, pieces: int
) -> None:
    """With one process and one backward too, where no batch norm sees the pieces."""
    arguments = (
        *RUN,
        *GRADIENTS[method],
        "length=8",
        "checkpoint.every=8",
        "optimizer.grad_clip_norm=1",
    )
    micro = f"micro_batch_size={8 // ranks // pieces}"
    launched(ranks, 0, *arguments, "run=ddp", micro)
    reference = gradients("ddp")
    if method == "pix2pix":
        run_here(*arguments, "run=one")
        assert (gradients("one") - reference).norm() < 1e-6 * reference.norm()
    for stage in (1, 2):
        launched(ranks, stage, *arguments, f"run=zero{stage}", micro)
        assert (gradients(f"zero{stage}") - reference).norm() < 1e-6 * reference.norm()


@installed
@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", [1, 2])
def test_zero_begins_and_freezes_as_ddp(stage: int) -> None:
    arguments = (*RUN, *CASES["pix2pix"], "checkpoint.every=8")
    run_here(*arguments, "run=first", "length=8")
    start = ("init_from=runs/first", "freeze=[generator.downs.0,discriminator.scales.0.0]")
    arguments = (*arguments, *start, "seed=1", "optimizer.weight_decay=0.1")
    assert_engines_agree(stage, *arguments)
    first, zero_run = tensors("first", 8), tensors("zero", 32)
    still = [key for key in zero_run if key.startswith("networks/generator/downs.0.")]
    assert still
    for key in still:
        assert torch.equal(zero_run[key], first[key.replace("networks/", "ema/")])
    assert not any("generator.downs.0." in key for key in zero_run)


@installed
@pytest.mark.exhaustive
def test_bf16_trains_under_zero() -> None:
    launched(2, 2, *RUN, *method_words("pix2pix"), "precision=bf16", "micro_batch_size=2", "run=x")
    rows = Path("runs/x/metrics.jsonl").read_text()
    assert "val_l1" in rows
    assert "nonfinite" not in rows


def config(tmp_path: Path, **content: object) -> dict[str, str]:
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(content))
    return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(path)}


def test_stage_comes_from_accelerates_configuration(tmp_path: Path) -> None:
    said = config(tmp_path, zero_optimization={"stage": 1}, bf16={"enabled": True})
    agreed = agree_with_launcher(schema.load("pix2pix"), said)
    assert (agreed.zero_stage, agreed.precision) == (1, "bf16")
    said = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
    assert agree_with_launcher(schema.load("pix2pix"), said).zero_stage == 2
    with pytest.raises(ValueError, match="zero_stage: the recipe says 1"):
        agree_with_launcher(schema.load("pix2pix", ["zero_stage=1"]), said)


REFUSED = {
    "stage 3": ({"zero_optimization": {"stage": 3}}, "zero_stage: .* says 3, allowed: 1 or 2"),
    "clipping": (
        {"zero_optimization": {"stage": 1}, "gradient_clipping": 1.0},
        "optimizer.grad_clip_norm: .* clips gradients to 1.0",
    ),
    "offload": (
        {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
        "has offload_optimizer, allowed: .* without offload",
    ),
    "fp16": (
        {"zero_optimization": {"stage": 1}, "fp16": {"enabled": True}},
        "has fp16, allowed: zero_optimization, bf16, gradient_clipping",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_zero_is_not_given_is_refused(name: str, tmp_path: Path) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        agree_with_launcher(schema.load("pix2pix"), config(tmp_path, **content))


def test_configuration_that_is_no_json_is_named(tmp_path: Path) -> None:
    said = config(tmp_path)
    Path(said["ACCELERATE_DEEPSPEED_CONFIG_FILE"]).write_text("{")
    with pytest.raises(ValueError, match="is no DeepSpeed configuration"):
        agree_with_launcher(schema.load("pix2pix"), said)


def test_recipe_refuses_zero_3_and_zero_without_ranks() -> None:
    with pytest.raises(ValueError, match="zero_stage: found 3, which shards the weights too"):
        schema.load("pix2pix", ["zero_stage=3"])
    with pytest.raises(ValueError, match=r"zero_stage: found 1.*(not installed|a launcher)"):
        zero.check(1, "fp32", {})


def test_rates_by_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(zero.dist, "is_initialized", lambda: True)
    zero.check(1, "fp32", {})
    zero.check(0, "fp32", {"generator": 0.1})
    with pytest.raises(
        ValueError,
        match=r"zero_stage: found 1 with optimizer.lr_factors, .*give phases their lr, or",
    ):
        zero.check(1, "fp32", {"generator": 0.1})
