"""Networks around one of timm's: its weights by file or by timm's route, its statistics, its
refusals.
"""

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_networks import images, small

from gantrain.losses.distances import feature_matching
from gantrain.networks import PretrainedUNet, ProjectedDiscriminator
from gantrain.networks.backbone import Backbone

NAME = "mobilenetv3_small_050"


@pytest.fixture
def file(tmp_path):
    """A trained network stands in for timm's: its batch norms have seen something."""
    torch.manual_seed(3)
    network = timm.create_model(NAME)
    network(images(64, 64))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", network.eval()


@pytest.mark.parametrize("training", [False, True])
def test_features_are_those_of_the_file(file, training):
    path, network = file
    backbone = Backbone(NAME, 3, True, str(path))
    backbone.load()
    backbone.train(training)  # statistics stay
    x = images(64, 96)
    mean, deviation = (
        torch.tensor(network.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std")
    )
    expected = network.forward_intermediates(
        ((x + 1) / 2 - mean) / deviation, intermediates_only=True
    )
    for found, reduction, ours in zip(expected, backbone.reductions, backbone(x), strict=True):
        torch.testing.assert_close(ours, found)
        assert ours.shape[-2:] == (64 // reduction, 96 // reduction)


def test_class_ids_see_the_file_too(file):
    backbone = Backbone(NAME, 12, True, str(file[0]))
    backbone.load()
    maps = [x.clone() for x in backbone(images(64, 64).repeat(1, 4, 1, 1))]
    backbone.load()
    assert all(map(torch.equal, maps, backbone(images(64, 64).repeat(1, 4, 1, 1))))


def test_refusals(file, tmp_path):
    with pytest.raises(ValueError, match=r"backbone: found 'typo' .*allowed: a network of timm"):
        Backbone("typo", 3, True, None)
    with pytest.raises(
        ValueError, match=r"weights: .* does not fit timm's resnet10t .*give its file"
    ):
        Backbone("resnet10t", 3, True, str(file[0])).load()
    torch.save(
        {f"module.{k}": v for k, v in file[1].state_dict().items()}, tmp_path / "wrapped.pth"
    )
    with pytest.raises(
        ValueError,
        match=r"weights: .*wrapped.pth has 0 of \d+ weights of timm's mob.*give its file",
    ):
        Backbone(NAME, 3, True, str(tmp_path / "wrapped.pth")).load()
    with pytest.raises(ValueError, match=r"weights: .*nothing.pth does not exist"):
        Backbone(NAME, 3, True, str(tmp_path / "nothing.pth")).load()
    with pytest.raises(ValueError, match=r"projected: found images of 2 channels, allowed: 1 or 3"):
        ProjectedDiscriminator(5, 2, backbone=NAME)
    with pytest.raises(
        ValueError,
        match=r"projected.size: found 64, at which the maps of mob.* 8, 4, 2 high; .* 256",
    ):
        ProjectedDiscriminator(3, 3, backbone=NAME, size=64)
    with pytest.raises(
        ValueError, match=r"pretrained_unet.backbone: .* are 4, 4, 4 high; allowed: .* halves"
    ):
        PretrainedUNet(3, 3, backbone="test_vit", pretrained=False)


@pytest.mark.parametrize(
    "name", ["inception_v3", "swin_tiny_patch4_window7_224", "test_vit", "maxvit_pico_rw_256"]
)
def test_a_backbone_of_another_kind_is_refused(name):
    for made in (
        lambda: PretrainedUNet(3, 3, backbone=name, pretrained=False),
        lambda: ProjectedDiscriminator(3, 3, backbone=name, pretrained=False, size=150),
    ):
        with pytest.raises(
            ValueError, match=rf"(backbone|projected.size): found '?{name}|150"
        ) as e:
            made()
        assert "\n" not in str(e.value)
        assert "allowed: " in str(e.value)


def test_what_cannot_be_fetched_is_told_in_one_line(monkeypatch):
    made = Backbone(NAME, 3, True, None)

    def offline(*args, **options):
        raise OSError("no route to the host\nnor elsewhere")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ValueError, match=rf"weights: those of {NAME} can't be fetched .*weights=FILE"
    ) as e:
        made.load()
    assert "\n" not in str(e.value)


def test_a_projected_discriminator_sees_the_image_alone():
    torch.manual_seed(0)
    network = ProjectedDiscriminator(5, 3, backbone=NAME, width=4, size=128)
    image = images(32, 48)
    scales = [
        network(torch.cat([source, image], 1))
        for source in (torch.zeros(2, 2, 32, 48), torch.ones(2, 2, 32, 48))
    ]
    for a, b in zip(*scales, strict=True):
        torch.testing.assert_close(a[-1], b[-1])
        assert a[-1].shape == (2, 1, 1, 3)  # 128x192 by 32 is 4x6, less the last kernel's 3
    assert [len(scale) for scale in scales[0]] == [5, 4, 3, 2], (
        "features of each scale, and its logits"
    )
    real = network(torch.zeros(2, 5, 32, 48))
    assert feature_matching(real, scales[0]) > 0


def test_what_was_drawn_or_trained_elsewhere_stays():
    network = small("projected")
    trained = {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"heads"}
    assert {p.requires_grad for p in network.heads.parameters()} == {True}
