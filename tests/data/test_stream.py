"""The stream: every sample once an epoch, alike for any ranks and workers; damaged samples."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gantrain.data.field import Field
from gantrain.data.kinds.table import KINDS
from gantrain.data.loader import held_out_batches, training_loader
from gantrain.data.prepare.pack import prepare
from gantrain.data.sample_order import MIXED, WINDOW, Order
from gantrain.data.shards import Shards
from gantrain.data.transforms import SampleTransform
from gantrain.recipe.augmentation_advice import describe_augmentation
from gantrain.recipe.data_request import data_request, sample_transform
from gantrain.recipe.schema import load
from gantrain.training.batch_split import split

VIEW = SampleTransform(
    {"left": KINDS["image"], "right": KINDS["image"]},
    (16, 16),
    (20, 20),
    flip=True,
    color_jitter=0.3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 side-by-side pairs; the left half's first pixel holds the sample's number."""
    from PIL import Image

    source = tmp_path_factory.mktemp("pairs")
    for i in range(13):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 48, 3), np.uint8)
        Image.fromarray(pixels).save(source / f"{i:02}.png")
    packed = source.parent / f"{source.name}-packed"
    prepare(source, packed, layout="pairs", progress=False)
    return packed


def stream(
    folder: Path, ranks: int, workers: int, start: int, stop: int, view: SampleTransform = VIEW
):
    """The global batches of 6, put together from the ranks' shares."""
    shards = Shards.open(folder)
    loaders = [
        training_loader(
            shards,
            view,
            order=Order([13], 3),
            start=start,
            stop=stop,
            batch_size=6,
            slots=split(6, ranks, None).slots(rank),
            workers=workers,
        )
        for rank in range(ranks)
    ]
    for shares in zip(*loaders, strict=True):
        fields = {f: torch.cat([share.fields[f] for share in shares]) for f in view.fields}
        yield fields, sum((share.positions for share in shares), ())


SHARDS = {
    "one sample": [1],
    "one shard": [7],
    "few": [3, 1, 8],
    "many small": [40, 50] * 100,
    "many large": [400] * 40,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith("many") else n for n in SHARDS]
)
def test_every_epoch_has_every_sample_once(name: str) -> None:
    counts = SHARDS[name]
    samples = sum(counts)
    order = Order(counts, seed=1)
    epochs = [[order[e * samples + i] for i in range(samples)] for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(samples))
    if samples > 2:
        assert epochs[0] != epochs[1] != epochs[2]
    assert [Order(counts, seed=1)[i] for i in range(samples)] == epochs[0]


def test_seeds_give_other_orders() -> None:
    a, b = ([Order([100], seed)[i] for i in range(100)] for seed in (1, 2))
    assert a != b


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize(("size", "shards"), [(400, 16), (64, 64), (4, 100)])
def test_a_shard_is_needed_for_one_stretch_of_an_epoch(
    size: int, shards: int, partitions: int
) -> None:
    """A window has enough shards and samples to mix, and says which: all that a cache must hold."""
    order = Order([size] * 100, 0, partitions)
    length = 100 * size // partitions
    for part in range(partitions):
        position, seen = part, []
        while position // partitions < length:
            named, mixed, behind = order.window(position)
            found = {order[k] // size for k in range(position, behind, partitions)}
            assert found == set(named)
            assert {i // size for i in mixed.tolist()} == found
            assert not found & set(seen), "a shard came back"
            assert order.window(behind - partitions)[::2] == (named, behind)
            seen += named
            position = behind
            if len(seen) < 100 // partitions:
                assert len(named) == shards // partitions
        assert sorted(seen) == sorted(order.parts[part])
    assert order.two_windows([10] * 100, range(partitions)) == min(100, 2 * shards) * 10


@pytest.mark.parametrize("partitions", [2, 3, 7])
def test_partitions_share_the_shards_evenly_and_each_has_its_samples_once(partitions: int) -> None:
    counts = [9, 30, 11, 10, 10, 12, 10, 10, 8, 10, 10, 10]
    order = Order(counts, 5, partitions)
    assert sorted(s for part in order.parts for s in part) == list(range(12))
    sizes = [sum(counts[s] for s in part) for part in order.parts]
    assert max(sizes) - min(sizes) <= 30
    everything = []
    for part, size in enumerate(sizes):
        stream = [order[part + partitions * i] for i in range(2 * size)]
        assert sorted(stream[:size]) == sorted(stream[size:])
        assert stream[:size] != stream[size:]
        everything += stream[:size]
    assert sorted(everything) == list(range(140))


def test_one_partition_is_the_plain_stream() -> None:
    assert WINDOW > 1
    assert MIXED > 1
    assert Order([5, 6, 7], 1, 1).parts == [[2, 1, 0]]
    sequence = [Order([5, 6, 7], 1, 1)[i] for i in range(40)]
    assert sequence == [Order([5, 6, 7], 1)[i] for i in range(40)]


@pytest.mark.parametrize(("ranks", "partitions"), [(1, 4), (2, 4), (4, 4), (2, 6)])
def test_slots_are_dealt_by_partition(ranks: int, partitions: int) -> None:
    parts = split(12, ranks, None, partitions)
    slots = [parts.slots(rank) for rank in range(ranks)]
    assert sorted(slot for own in slots for slot in own) == list(range(12))
    for rank, own in enumerate(slots):
        assert len(own) == parts.per_rank
        assert {slot % partitions for slot in own} == set(parts.partitions_of(rank))


@pytest.mark.parametrize(("ranks", "partitions"), [(1, 5), (2, 3), (3, 4)])
def test_partitions_that_do_not_divide_are_refused(ranks: int, partitions: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.partitions: found {partitions}.*allowed: 1, "):
        split(12, ranks, None, partitions)


@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 0), (3, 1), (6, 0)])
def test_stream_is_the_same_for_any_ranks_and_workers(
    folder: Path, ranks: int, workers: int
) -> None:
    expected = list(stream(folder, 1, 0, 0, 30))
    found = list(stream(folder, ranks, workers, 0, 30))
    assert len(expected) == len(found) == 5
    for (a, positions), (b, others) in zip(expected, found, strict=True):
        assert positions == others
        assert all(torch.equal(a[f], b[f]) for f in a)


def test_stream_goes_on_from_any_position(folder: Path) -> None:
    whole, rest = list(stream(folder, 1, 0, 0, 30)), list(stream(folder, 2, 0, 18, 30))
    for (a, _), (b, _) in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(a[f], b[f]) for f in a)


def test_batches_straddle_epochs_and_drop_nothing(folder: Path) -> None:
    order = Order([13], seed=3)
    positions = [p for _, batch in stream(folder, 1, 0, 0, 78) for p in batch]
    assert positions == list(range(78))
    assert sorted(order[p] for p in positions[13:26]) == list(range(13))


def damage(folder: Path, copy: Path, sample: int) -> Path:
    """A copy of a data set with one flipped byte in a sample's file."""
    import shutil

    shutil.copytree(folder, copy)
    arrays = np.load(copy / "index.npz")
    tar = copy / "s-000000.tar"
    content = bytearray(tar.read_bytes())
    content[int(arrays["pair_offset"][sample]) + 60] ^= 1
    tar.write_bytes(bytes(content))
    return copy


@pytest.mark.parametrize("ranks", [1, 3])
def test_damaged_sample_gives_way_to_the_same_other_one(
    folder: Path, tmp_path: Path, ranks: int
) -> None:
    copy = damage(folder, tmp_path / "copy", 4)
    whole, broken = list(stream(folder, 1, 0, 0, 30)), list(stream(copy, ranks, 0, 0, 30))
    again = list(stream(copy, 1, 0, 0, 30))
    order = Order([13], seed=3)
    for (a, positions), (b, _), (c, _) in zip(whole, broken, again, strict=True):
        for i, position in enumerate(positions):
            same = torch.equal(a["left"][i], b["left"][i])
            assert same == (order[position] != 4)
            assert torch.equal(b["left"][i], c["left"][i])


def test_damaged_sample_is_named(folder: Path, tmp_path: Path) -> None:
    shards = Shards.open(damage(folder, tmp_path / "copy", 4))
    loader = training_loader(
        shards,
        VIEW,
        order=Order([13], 3),
        start=0,
        stop=13,
        batch_size=13,
        slots=range(13),
        workers=0,
    )
    (batch,) = loader
    (text,) = set(batch.damaged)  # a substitute may be the damaged one again
    assert "s-000000.tar" in text
    assert "04" in text


@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_damaged_held_out_sample_is_named(
    folder: Path, tmp_path: Path, batch_size: int
) -> None:
    """Also one whose batch holds no other sample, and the last one of all."""
    copy = damage(damage(folder, tmp_path / "first", 4), tmp_path / "second", 12)
    damaged: set[str] = set()
    batches = held_out_batches(Shards.open(copy), VIEW, range(13), batch_size, damaged=damaged)
    positions = [i for batch in batches for i in batch.positions]
    assert positions == [*range(4), *range(5, 12)]
    last, first = sorted(damaged)
    assert "sample 4 (04)" in first
    assert "sample 12 (12)" in last


def test_augmentation_is_one_draw_for_all_fields() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    ids = (image[..., :1] // 16).astype(np.uint8)
    for seed in range(8):
        view = SampleTransform(
            {"image": KINDS["image"], "label": KINDS["label"]}, (16, 24), None, flip=True
        )
        out = view.augment({"image": image, "label": ids}, np.random.default_rng(seed))
        assert out["image"].shape == (16, 24, 3)
        assert np.array_equal(out["label"], out["image"][..., :1] // 16)


def test_instances_are_cropped_and_flipped_with_the_rest_and_keep_their_ids() -> None:
    ids = np.random.default_rng(0).choice(np.array([3, 26001, 65535], np.uint16), (30, 40, 1))
    image = (ids % 251).astype(np.uint8)
    for seed in range(8):
        view = SampleTransform(
            {"image": KINDS["image"], "i": KINDS["instances"]}, (16, 24), None, flip=True
        )
        out = view.augment({"image": image, "i": ids}, np.random.default_rng(seed))
        assert out["i"].dtype == np.uint16
        assert np.array_equal(out["i"] % 251, out["image"])
    resized = SampleTransform({"i": KINDS["instances"]}, (16, 16), (20, 20)).held_out({"i": ids})[
        "i"
    ]
    assert (resized.dtype, set(np.unique(resized))) == (np.uint16, {3, 26001, 65535})


AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "flip": {"flip": True},
    "vertical flip": {"vertical_flip": True},
    "quarter turns": {"quarter_turns": True},
    "random scale": {"random_scale": (0.7, 1.6)},
    "random scale of resized samples": {"random_scale": (0.5, 2.0), "resize": (20, 28)},
    "all": {
        "flip": True,
        "vertical_flip": True,
        "quarter_turns": True,
        "random_scale": (0.7, 1.6),
        "resize": (24, 24),
    },
}


def squares(side: int = 4) -> np.ndarray:
    """Class ids, HW1: a different one in each square, so that each place is known by its id."""
    rows, columns = np.indices((32, 40)) // side
    return (rows * 10 + columns + 1).astype(np.uint8)[..., None]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_is_one_draw_for_fields_of_every_kind(name: str) -> None:
    options = {"resize": None, **AUGMENTATIONS[name]}
    view = SampleTransform({kind: KINDS[kind] for kind in KINDS}, (16, 16), **options)
    ids = squares()
    sample = {
        "label": ids,
        "instances": ids.astype(np.uint16) * 300,
        "mask": np.where(ids % 2, 255, 0).astype(np.uint8),
        "image": np.repeat(ids, 3, axis=2),
    }
    seen = set()
    for seed in range(40):
        shown = view.augment(sample, np.random.default_rng(seed))
        assert {array.shape[:2] for array in shown.values()} == {(16, 16)}
        label = shown["label"]
        assert set(np.unique(label)) <= set(np.unique(ids))
        assert np.array_equal(shown["instances"], label.astype(np.uint16) * 300)
        assert np.array_equal(shown["mask"], np.where(label % 2, 255, 0))
        # Bicubic mixes neighbours at edges, and agrees inside of the squares.
        agrees = np.abs(shown["image"].astype(int) - label) <= 3
        assert agrees.mean() > (0.99 if "scale" not in name and name != "all" else 0.3)
        seen.add(label.tobytes())
    assert len(seen) > 8


def test_the_new_options_leave_the_older_draws_alone() -> None:
    sample = {"x": np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)}
    kinds = {"x": KINDS["image"]}
    plain = SampleTransform(kinds, (16, 16), (24, 24), flip=True, color_jitter=0.2)
    turned = SampleTransform(
        kinds, (16, 16), (24, 24), flip=True, color_jitter=0.2, quarter_turns=True
    )
    for seed in range(8):
        expected = plain.augment(sample, np.random.default_rng(seed))["x"]
        shown = turned.augment(sample, np.random.default_rng(seed))["x"]
        assert any(np.array_equal(np.rot90(expected, k), shown) for k in range(4))


def test_flips_turns_and_scales_have_their_frequencies() -> None:
    """Of 2,000 draws; three standard deviations of a binomial are less than the tolerance."""
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    kinds = {"x": KINDS["label"]}
    counts = {"left to right": 0, "top to bottom": 0}
    turns = [0, 0, 0, 0]
    draws = 2000
    for seed in range(draws):
        for name, option in (("left to right", "flip"), ("top to bottom", "vertical_flip")):
            view = SampleTransform(kinds, (16, 16), None, **{option: True})
            shown = view.augment({"x": ids}, np.random.default_rng(seed))["x"]
            counts[name] += not np.array_equal(shown, ids)
        view = SampleTransform(kinds, (16, 16), None, quarter_turns=True)
        shown = view.augment({"x": ids}, np.random.default_rng(seed))["x"]
        turns[next(k for k in range(4) if np.array_equal(np.rot90(ids, k), shown))] += 1
    assert all(abs(count / draws - 0.5) < 0.04 for count in counts.values())
    assert all(abs(count / draws - 0.25) < 0.04 for count in turns)


def test_an_image_and_its_ids_are_scaled_to_the_same_place() -> None:
    """A ramp of grey knows each pixel's place; the nearest id is at most half a pixel off."""
    rows, columns = np.indices((40, 60)).astype(np.float32) / 64
    ramp = np.stack([rows, columns], axis=2)
    names = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60, 1)
    kinds = {"image": KINDS["image"], "ids": KINDS["instances"]}
    view = SampleTransform(
        kinds,
        (16, 16),
        None,
        flip=True,
        vertical_flip=True,
        quarter_turns=True,
        random_scale=(0.6, 2),
    )
    for seed in range(60):
        shown = view.augment({"image": ramp, "ids": names}, np.random.default_rng(seed))
        inner = (slice(2, -2), slice(2, -2))  # bicubic has no neighbours beyond the border
        place = np.stack(np.unravel_index(shown["ids"][..., 0], (40, 60)), axis=2) / 64
        difference = 64 * np.abs(shown["image"] - place)[inner]
        assert difference.max() < 0.9
        assert difference.mean() < 0.45


def test_drawn_scales_are_spread_by_equal_factors() -> None:
    """Quartiles of 4,000 draws; the tolerance is three standard deviations of a median."""
    view = SampleTransform({"x": KINDS["image"]}, (1, 1), None, random_scale=(0.5, 2.0))
    sample = {"x": np.zeros((1000, 1000, 1), np.uint8)}
    factors = []
    for seed in range(4000):
        random = np.random.default_rng(seed)
        zoom = random.random(8)[7]
        factors.append(view._size_before_crop(sample, zoom)[0] / 1000)
    quartiles = np.quantile(np.log2(factors), [0.25, 0.5, 0.75])
    assert np.allclose(quartiles, [-0.5, 0, 0.5], atol=0.05)


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_does_not_depend_on_ranks_and_workers(folder: Path, workers: int) -> None:
    view = replace(VIEW, vertical_flip=True, quarter_turns=True, random_scale=(0.8, 1.4))
    shards = Shards.open(folder)
    order = Order([shard.samples for shard in shards.index.shards], seed=3)

    def shown(ranks: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for rank in range(ranks):
            loader = training_loader(
                shards,
                view,
                order=order,
                start=0,
                stop=24,
                batch_size=4,
                slots=split(4, ranks, None).slots(rank),
                workers=workers,
            )
            for raw in loader:
                for number, position in enumerate(raw.positions):
                    found[position] = raw.fields["left"][number].numpy().tobytes()
        return found

    assert shown(1) == shown(2)
    assert len(shown(1)) == 24


ADVICE = {
    "nothing changes": (
        ("data.size=[256,256]", "data.resize=[256,256]", "data.random_scale=[0.5,1]"),
        r"data.random_scale=\[0.5, 1.0\] changes nothing: data.size=256x256 fits into .* 1; give larger",
    ),
    "many at the least": (
        ("data.random_scale=[0.8,1.25]",),
        "25% of the random scales would make a sample smaller than data.size=256x256; these samples",
    ),
    "few at the least": (("data.random_scale=[0.88,1.25]",), ""),
    "samples of one size": (
        ("data.resize=null", "data.size=[300,300]", "data.random_scale=[0.5,0.9]"),
        r"data.random_scale=\[0.5, 0.9\] changes nothing: data.size=300x300 fits into samples of",
    ),
    "a scale of 1": (
        ("data.random_scale=[1,1]",),
        r"data.random_scale=\[1.0, 1.0\] changes nothing",
    ),
    "colours of ids": (
        ("data.color_jitter=0.2", "data.color_jitter_source_only=true", "data.labels={left: 3}"),
        "data.color_jitter_source_only=true changes nothing, since the source holds class ids",
    ),
}


@pytest.mark.parametrize("name", ADVICE)
def test_augmentation_that_changes_nothing_is_reported(name: str) -> None:
    words, says = ADVICE[name]
    recipe = load("pix2pix", list(words))
    kind = {"kind": "label", "classes": 3} if recipe.data.labels else {}
    size = {"min_size": (300, 300), "max_size": (300, 300)}
    source = Field(member="x", channels=1, **size, **kind)
    target = Field(member="y", channels=3, **size)
    lines = describe_augmentation(recipe, {"source": source, "target": target})
    assert len(lines) == bool(says)
    if says:
        assert re.search(rf"^warning: {says}", lines[0])


def test_further_fields_of_the_source_can_have_colours_to_jitter() -> None:
    size = {"min_size": (300, 300), "max_size": (300, 300)}
    ids = Field(member="left", kind="label", classes=3, channels=1, **size)
    colours = Field(member="right", channels=3, **size)
    words = ("data.color_jitter=0.2", "data.color_jitter_source_only=true")
    sources = ("data.source=[left,photo]", "data.target=right")
    recipe = load("pix2pix", [*words, *sources, "data.labels={left: 3}"])
    assert data_request(recipe).source_roles == ["source", "source2"]
    fields = {"source": ids, "target": colours, "source2": colours}
    assert describe_augmentation(recipe, fields) == []
    assert len(describe_augmentation(recipe, {**fields, "source2": ids})) == 1


def test_scales_are_spread_by_equal_factors_and_never_below_the_crop() -> None:
    view = SampleTransform({"x": KINDS["image"]}, (16, 16), None, random_scale=(0.5, 2.0))
    sample = {"x": np.zeros((100, 200, 3), np.uint8)}
    sizes = [view._size_before_crop(sample, zoom) for zoom in np.linspace(0, 1, 5)]
    assert sizes == [(50, 100), (71, 141), (100, 200), (141, 283), (200, 400)]
    small = {"x": np.zeros((20, 40, 3), np.uint8)}
    assert view._size_before_crop(small, 0.0) == (16, 32)


def test_jitter_of_the_source_alone() -> None:
    image = np.random.default_rng(0).integers(60, 190, (20, 20, 3), np.uint8)
    kinds = {"source": KINDS["image"], "target": KINDS["image"]}
    view = SampleTransform(kinds, (20, 20), None, color_jitter=0.4, jittered={"source"})
    shown = view.augment({"source": image, "target": image}, np.random.default_rng(1))
    assert np.array_equal(shown["target"], image)
    assert not np.array_equal(shown["source"], image)


def test_labels_are_resized_by_nearest_and_never_jittered() -> None:
    ids = np.random.default_rng(0).choice([3, 200], (33, 47, 1)).astype(np.uint8)
    view = SampleTransform({"x": KINDS["label"]}, (16, 16), (20, 20), flip=True, color_jitter=1.0)
    for out in (view.augment({"x": ids}, np.random.default_rng(0)), view.held_out({"x": ids})):
        assert out["x"].shape == (16, 16, 1)
        assert set(np.unique(out["x"])) <= {3, 200}


def test_held_out_takes_the_centre_or_the_whole() -> None:
    image = np.arange(10 * 12).reshape(10, 12, 1).astype(np.uint8)
    centre = SampleTransform({"x": KINDS["image"]}, (4, 4), None).held_out({"x": image})["x"]
    assert np.array_equal(centre, image[3:7, 4:8])
    assert SampleTransform({"x": KINDS["image"]}, (4, 4), (8, 8)).held_out({"x": image})[
        "x"
    ].shape == (4, 4, 1)


REFUSED = {
    "turns of no square": (
        ("data.size=[16,32]", "data.resize=null", "data.quarter_turns=true"),
        r"data.quarter_turns: found true, allowed: false, since data.size=\[16, 32\] is not square",
    ),
    "the highest factor first": (
        ("data.random_scale=[2,0.5]",),
        r"data.random_scale: found .*, allowed: the lowest factor first",
    ),
    "a factor of 0": (("data.random_scale=[0,1]",), r"data.random_scale.0: found 0"),
    "a factor that fills the memory": (
        ("data.random_scale=[1,99]",),
        "data.random_scale.1: found 99",
    ),
    "no jitter": (
        ("data.color_jitter_source_only=true",),
        "data.color_jitter_source_only: found true, allowed: false, since data.color_jitter=0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_augmentation_that_cannot_be_is_refused(name: str) -> None:
    words, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        load("pix2pix", list(words))


def test_held_out_samples_are_not_augmented() -> None:
    words = (
        "data.vertical_flip=true",
        "data.quarter_turns=true",
        "data.random_scale=[0.5,2]",
        "data.color_jitter=0.5",
        "data.color_jitter_source_only=true",
    )
    fields = {
        role: Field(member=role, channels=3, min_size=(300, 300), max_size=(300, 300))
        for role in ("source", "target")
    }
    augmented, plain = (
        sample_transform(load("pix2pix", list(changes)), fields, training=False)
        for changes in (words, ())
    )
    sample = {"left": np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)}
    assert np.array_equal(augmented.held_out(sample)["left"], plain.held_out(sample)["left"])
