"""What a panel refuses, caches and leaves as it was."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantrain.metrics.extractors import Backbone, _torchvision, _without_classifier, load_weights
from gantrain.metrics.feature_set import FeatureSet
from gantrain.metrics.image_statistics import FunctionExtractor
from gantrain.metrics.metric_suite import MetricSuite, Record
from gantrain.metrics.registry import RANDOM, check, of_set
from gantrain.metrics.set_distances import inception_score

CPU = torch.device("cpu")
NAMES = ("fd_random0", "recall_random1", "swd", "spectrum", "histogram", "diversity")


def images(seed: int, n: int = 12, size: tuple[int, int] = (40, 32), channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, *size, generator=random) * 2 - 1


def measured(names: tuple[str, ...], fake: Tensor, real: Tensor) -> dict[str, Record]:
    panel = MetricSuite(names, CPU, {}, len(fake))
    panel.add_images("fake", fake)
    panel.add_images("real", real)
    return {record.name: record for record in panel.results()}


@pytest.mark.parametrize(
    "name",
    [
        "fdd",
        "fd",
        "fd_",
        "fd_nonet",
        "fd_resnet18.bogus",
        "kd_torchvision/nonet",
        "random0",
        "inception",
        "L1",
    ],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="allowed: l1, l2, psnr"):
        check(name)


@pytest.mark.parametrize(
    "name",
    [
        "fd_resnet18",
        "fd_resnet18.a1_in1k",
        "kd_torchvision/vgg16",
        "coverage_squeezenet",
        "fd_inception",
        "fid",
    ],
)
def test_networks_are_known_without_fetching_them(name: str) -> None:
    assert check(name) == name
    assert of_set(name)


def test_batches_do_not_matter() -> None:
    fake, real = images(0, 70), images(1, 70)
    whole, panel = measured(NAMES, fake, real), MetricSuite(NAMES, CPU, {}, 70)
    for piece in (slice(0, 1), slice(1, 34), slice(34, 70)):
        panel.add_images("fake", fake[piece])
        panel.add_images("real", real[piece])
    for record in panel.results():
        assert record.value == pytest.approx(whole[record.name].value, rel=1e-9)


def test_grey_images_are_measured_and_others_named() -> None:
    grey = measured(NAMES, images(0, channels=1), images(1, channels=1))
    assert all(record.value is not None for record in grey.values())
    five = measured(NAMES, images(0, channels=5), images(1, channels=5))
    assert {record.problem for record in five.values()} == {
        "images have 5 channels, extractors take 1 or 3"
    }


def test_sets_of_several_sizes_have_values_where_that_is_meaningful() -> None:
    panel = MetricSuite(NAMES, CPU, {}, 12)
    for size in ((40, 32), (64, 64)):
        panel.add_images("fake", images(0, 6, size))
        panel.add_images("real", images(1, 6, size))
    found = {record.name: record for record in panel.results()}
    assert [n for n, r in found.items() if r.problem == "images differ in size"] == [
        "swd",
        "spectrum",
    ]
    assert all(
        found[n].value is not None
        for n in ("fd_random0", "recall_random1", "histogram", "diversity")
    )


@pytest.mark.parametrize("pixels", [16, 6, 1])
def test_tiny_images_have_values_or_a_problem(pixels: int) -> None:
    found = measured(NAMES, *(images(seed, size=(pixels, pixels)) for seed in (0, 1)))
    without = {n: r.problem for n, r in found.items() if r.value is None}
    assert list(without) == {16: [], 6: ["swd"], 1: ["swd", "spectrum"]}[pixels]
    assert all("too small" in problem for problem in without.values())


def test_features_that_are_not_finite_are_told_of() -> None:
    panel = MetricSuite(("fd_random0", "fd_random1"), CPU, {}, 12)
    panel.extractors["random0"].convs[0].weight.data[0] = torch.nan  # type: ignore[attr-defined]
    panel.add(images(0), images(1))
    broken, whole = panel.results()
    assert broken.value is None
    assert broken.problem.startswith("features not finite")
    assert whole.value


def test_fakes_that_hold_nan_have_no_value() -> None:
    panel, names = (
        MetricSuite((*NAMES, "l1", "psnr", "copy_index"), CPU, {}, 12),
        (*NAMES, "l1", "psnr", "copy_index"),
    )
    for fake in (images(0), images(0).masked_fill(images(0) > 0.9, torch.nan)):
        panel.add(fake.double(), images(1).double(), images(2).double())
    assert {r.name: (r.value, r.problem) for r in panel.results()} == dict.fromkeys(
        names, (None, "images hold NaN")
    )
    panel.reset()
    panel.add(images(0).double(), images(1).double(), images(2).double())
    assert all(r.value is not None for r in panel.results())


def test_too_few_logits_for_the_splits_have_no_value() -> None:
    panel = MetricSuite(("histogram",), CPU, {}, 12)
    panel.extractors["logits"] = FunctionExtractor(lambda images: images.float().mean((2, 3)))
    for n, there in ((9, False), (12, True)):
        panel._sets = {
            which: {"logits": FeatureSet(panel.extractors["logits"])}
            for which in ("fake", "real", "null")
        }
        panel.add_images("fake", images(0, n))
        panel.add_images("real", images(1))
        record = panel._of_sets("inception_score", inception_score, "logits")
        assert (record.value is not None, record.null) == (there, None)  # halves of six
        assert ("too few" in record.problem) == (not there)


def test_one_image_is_no_set() -> None:
    assert measured(NAMES, images(0, 1), images(1))["swd"].problem == "fewer than two images"


def test_random_networks_differ_by_seed_only() -> None:
    fake, real = images(0), images(1)
    found = [measured((f"fd_{name}",), fake, real)[f"fd_{name}"].value for name in RANDOM[:3]]
    assert len(set(found)) == 3
    assert measured(("fd_random0",), fake, real)["fd_random0"].value == found[0]


def test_random_numbers_of_a_run_stay() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    measured(NAMES, images(0), images(1))
    assert torch.equal(torch.rand(3), expected)


def test_a_way_back_is_the_methods_to_measure() -> None:
    panel = MetricSuite(["l1", "cycle_error"], CPU, {}, 4)
    panel.add(images(0), images(1))
    assert [(r.name, r.value is None, r.problem) for r in panel.results()][1] == (
        "cycle_error", True, "the method does not measure it",
    )  # fmt: skip
    panel.reset()
    panel.add(images(0), images(1), cycle_error=torch.tensor(0.25))
    assert panel.results()[1].value == 0.25


def test_null_is_of_halves_or_of_others() -> None:
    panel = MetricSuite(("fd_random0",), CPU, {}, 12)
    panel.add(images(0), images(1))
    (halves,) = panel.results()
    assert (halves.null_n, halves.n) == (6, 12)
    panel = MetricSuite(("fd_random0",), CPU, {}, 12)
    panel.add(images(0), images(1))
    panel.add_images("null", images(2))
    (others,) = panel.results()
    assert (others.null_n, others.value) == (12, halves.value)
    assert others.null == measured(("fd_random0",), images(2), images(1))["fd_random0"].value


def test_a_set_is_recalled_by_its_content_and_the_extractor() -> None:
    first = MetricSuite(NAMES, CPU, {}, 12)
    assert not first.load_reference("real", "these")
    first.add(images(0), images(1))
    first.store_reference("real", "these")
    again = MetricSuite(NAMES, CPU, {}, 12)
    assert not again.load_reference("real", "others")
    assert again.load_reference("real", "these")
    again.add(images(0), images(3))  # not looked at: what is known is not measured again
    assert [r.value for r in again.results()] == [r.value for r in first.results()]
    assert not MetricSuite(("fd_random3",), CPU, {}, 12).load_reference(
        "real", "these"
    )  # another network
    assert not MetricSuite(("swd",), CPU, {}, 2000).load_reference(
        "real", "these"
    )  # fewer patches an image
    for file in Path(os.environ["GANTRAIN_CACHE"], "metrics").iterdir():
        file.write_bytes(file.read_bytes()[:40])
    assert not MetricSuite(NAMES, CPU, {}, 12).load_reference("real", "these")


def test_reset_forgets_the_fakes_alone() -> None:
    panel = MetricSuite((*NAMES, "l1"), CPU, {}, 12)
    panel.add(images(0), images(1))
    first = panel.results()
    panel.reset()
    panel.add(images(5), images(1))
    assert {r.n for r in panel.results()} == {12}
    panel.reset()
    panel.add(images(0), images(1))
    assert panel.results() == first


def test_copy_index_tells_a_copy_from_a_translation() -> None:
    source, target = images(0).double(), images(1).double()
    for fake, expected in ((source, 0.0), (target, 1.0)):
        panel = MetricSuite(("copy_index",), CPU, {}, 12)
        panel.add(fake, target, source)
        assert panel.results()[0].value == pytest.approx(expected)
    panel = MetricSuite(("copy_index",), CPU, {}, 12)
    panel.add(target, target, images(0, channels=10))
    assert panel.results()[0].problem == "source and target differ in kind"


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("it-ran",)


def test_weight_files_are_not_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(pickle.dumps({"x": _Evil()}))
    torch.save({"x": _Evil()}, tmp_path / "z.pth")
    with pytest.raises(ValueError, match=r"evaluate.weights: .*none.pth does not exist"):
        load_weights(tmp_path / "none.pth")
    for path in (file, tmp_path / "z.pth"):
        with pytest.raises(
            ValueError, match=f"evaluate.weights: {path} can't be read as tensors by name"
        ):
            load_weights(path)
        with pytest.raises(
            ValueError, match=f"evaluate.weights: {path} can't be read as tensors by name"
        ):
            MetricSuite(("fd_inception",), CPU, {"inception": str(path)}, 12)
    assert not Path("it-ran").exists()


def test_weights_that_cannot_be_fetched_are_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    for name in ("fid", "fd_torchvision/squeezenet1_1", "lpips"):
        with pytest.raises(
            ValueError,
            match=r"could not be fetched \(no route to host\); get .* give evaluate.weights",
        ):
            MetricSuite((name,), CPU, {}, 12)


def test_torchvisions_networks_see_what_their_weights_were_trained_on() -> None:
    network = _torchvision("efficientnet_b1", False)
    assert network.pretrained_cfg == {
        "input_size": (3, 240, 240), "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]
    }  # fmt: skip


def test_a_classifier_is_taken_off_or_the_network_refused() -> None:
    from torchvision.models import MNASNet, SwinTransformer, VisionTransformer

    x = images(0, 2, (32, 32))
    for network, width in (
        (VisionTransformer(32, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8), 8),
        (SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2]), 16),
        (MNASNet(0.1), 1280),
    ):
        assert _without_classifier(network.eval(), "it")(x).shape == (2, width)
    with pytest.raises(
        ValueError, match=r"^evaluate\.metrics: it has no classifier to take off; allowed: timm's"
    ):
        _without_classifier(torch.nn.Sequential(torch.nn.Flatten()), "it")


@pytest.mark.slow
def test_any_backbone_gives_its_last_features(tmp_path: Path) -> None:
    import timm
    import torchvision

    made = {"resnet10t": timm.create_model("resnet10t"), "torchvision/resnet18": torchvision.models.resnet18(),
            "torchvision/squeezenet1_1": torchvision.models.squeezenet1_1(),
            "torchvision/inception_v3": torchvision.models.inception_v3(init_weights=False)}  # fmt: skip
    for (name, network), width in zip(made.items(), (512, 512, 512, 2048), strict=True):
        file = tmp_path / "w.pth"
        torch.save(network.state_dict(), file)
        backbone = Backbone(name, str(file)).eval()
        assert backbone((images(0, 2) * 127 + 127).to(torch.uint8)).shape == (2, width)
        assert backbone.size == (
            (176, 176) if name == "resnet10t" else (299, 299) if width == 2048 else (224, 224)
        )
        with pytest.raises(ValueError, match="does not fit torchvision/vgg11"):
            Backbone("torchvision/vgg11", str(file))
