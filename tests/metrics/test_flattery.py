"""Choosing checkpoints by a kind of network that the training itself pleases is advised against."""

import pytest
from conftest import SMALL
from torch import nn

from gantrain import train
from gantrain.losses.feature_networks import TorchvisionFeatures
from gantrain.losses.lpips import DISTS, LPIPS
from gantrain.losses.perceptual import VGG19
from gantrain.metrics.flattery import IMAGENET, family_of_metric, flattery
from gantrain.networks import NETWORKS
from gantrain.networks.backbone import Backbone

FAMILIES = {
    **dict.fromkeys(
        ["fid", "kid", "inception_score", "fd_inception", "kd_inception", "fd_squeezenet"], IMAGENET
    ),
    **dict.fromkeys(
        ["recall_torchvision/resnet18", "fd_resnet50", "precision_resnet18", "lpips_vgg"], IMAGENET
    ),
    **dict.fromkeys(["lpips", "fd_vit_base_patch16_clip_224.laion2b_ft_in1k"], IMAGENET),
    "fd_vit_small_patch14_dinov2": "lvd142m",
    "kd_vit_small_patch14_dinov2.lvd142m": "lvd142m",
    "fd_vit_small_patch16_224.dino": "dino",
    "fd_vit_base_patch16_clip_224.openai": "openai",
    **dict.fromkeys(
        ["l1", "l2", "psnr", "ssim", "ms_ssim", "psnr_pooled", "copy_index", "cycle_error"]
    ),
    **dict.fromkeys(
        ["swd", "spectrum", "histogram", "diversity", "miou_unet", "fd_random0", "recall_random9"]
    ),
}

PARTS = {
    "PatchGAN": lambda: nn.Conv2d(3, 1, 4),
    "backbone": lambda: nn.Sequential(Backbone("resnet18", 3, True, None)),
    "backbone that was drawn": lambda: Backbone("resnet18", 3, False, None),
    "VGG": lambda: VGG19(3),
    "LPIPS": lambda: LPIPS(3, network="alex"),
    "DISTS": lambda: DISTS(3),
    "network of torchvision": lambda: TorchvisionFeatures(3),
    "self-supervised backbone": lambda: Backbone("vit_small_patch14_dinov2", 3, True, None),
}

# Which parts of a method and metrics are advised against.
PAIRS = [
    ("PatchGAN", "fid", False),
    ("backbone", "fid", True),
    ("backbone", "kid", True),
    ("backbone", "fd_resnet50", True),
    ("backbone", "fd_squeezenet", True),
    ("backbone", "recall_inception", True),
    ("backbone", "lpips", True),
    ("backbone", "fd_vit_small_patch14_dinov2", False),
    ("backbone", "fd_random0", False),
    ("backbone", "swd", False),
    ("backbone", "l1", False),
    ("backbone", "psnr", False),
    ("backbone", "ssim", False),
    ("backbone that was drawn", "fid", False),
    ("LPIPS", "fid", True),
    ("LPIPS", "lpips", True),
    ("DISTS", "lpips", True),
    ("DISTS", "swd", False),
    ("network of torchvision", "fd_squeezenet", True),
    ("network of torchvision", "fd_vit_small_patch14_dinov2", False),
    ("VGG", "fid", True),
    ("VGG", "lpips", True),
    ("VGG", "fd_vit_small_patch14_dinov2", False),
    ("VGG", "ssim", False),
    ("self-supervised backbone", "fid", False),
    ("self-supervised backbone", "fd_vit_small_patch14_dinov2", True),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_metric_was_trained_on(name: str) -> None:
    assert family_of_metric(name) == FAMILIES[name]


@pytest.mark.parametrize(("part", "metric", "is_flattering"), PAIRS)
def test_a_metric_of_the_kind_that_training_pleases(
    part: str, metric: str, is_flattering: bool
) -> None:
    reason = flattery(metric, {"generator": nn.Conv2d(3, 3, 1), "other": PARTS[part]()})
    assert bool(reason) == is_flattering
    if reason:
        assert "other: " in reason
        assert "arXiv 2203.06026" in reason
        assert "choose by swd or fd_random0" in reason
        assert ("such as fd_vit_small_patch14_dinov2" in reason) == (
            part != "self-supervised backbone"
        )


METHODS = {
    "projected": [
        "method.more_discriminators=[{network: {name: projected, backbone: resnet18, width: 4}}]"
    ],
    "pretrained_unet": ["method.generator={name: pretrained_unet, backbone: resnet18, width: 4}"],
    "VGG": ["method={name: spade, generator: {width: 4}, losses: {perceptual: 10}}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_run_begins_with_one_warning(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"projected", "pretrained_unet"} <= set(NETWORKS)
    small = [word for word in SMALL if not word.startswith(("method.", "evaluate."))]
    words = [*small, *METHODS[name], "data=synthetic", "dry_run=true"]
    for metric, count in (("fd_squeezenet", 1), ("fd_random0", 0)):
        train("quickstart", *words, f"evaluate.metrics=[l1,{metric}]", f"evaluate.best_by={metric}")
        lines = capsys.readouterr().out.splitlines()
        assert (
            len([line for line in lines if line.startswith("warning: evaluate.best_by: ")]) == count
        )
    train("quickstart", *words, "evaluate.metrics=[l1,fd_squeezenet]", "evaluate.best_by=l1")
    assert "warning: evaluate.best_by" not in capsys.readouterr().out
