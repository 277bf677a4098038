"""The stream: every sample once an epoch, alike for any ranks and workers; damaged samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gantrain.data.loader import View, held_out_batches, training_loader
from gantrain.data.order import CHUNK, Order
from gantrain.data.prepare import prepare
from gantrain.data.shards import Shards
from gantrain.data.transforms import augment, held_out
from gantrain.plan import split

VIEW = View(("left", "right"), frozenset(), (16, 16), (20, 20), flip=True, jitter=0.3)


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


def stream(folder: Path, ranks: int, workers: int, start: int, stop: int, view: View = VIEW):
    """The global batches of 6, put together from the ranks' shares."""
    shards = Shards.open(folder)
    loaders = [
        training_loader(
            shards,
            view,
            seed=3,
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


@pytest.mark.parametrize("samples", [1, 7, CHUNK, 5 * CHUNK + 3, 40 * CHUNK + 1])
def test_every_epoch_has_every_sample_once(samples: int) -> None:
    order = Order(samples, seed=1)
    epochs = [[order[e * samples + i] for i in range(samples)] for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(samples))
    if samples > 2:
        assert epochs[0] != epochs[1] != epochs[2]
    assert [Order(samples, seed=1)[i] for i in range(samples)] == epochs[0]


def test_seeds_give_other_orders() -> None:
    a, b = ([Order(100, seed)[i] for i in range(100)] for seed in (1, 2))
    assert a != b


def test_a_large_set_is_read_from_few_places_at_a_time() -> None:
    order = Order(100 * CHUNK, seed=0)
    window = {order[i] // CHUNK for i in range(16 * CHUNK)}
    assert len(window) == 16


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
    order = Order(13, seed=3)
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
    order = Order(13, seed=3)
    for (a, positions), (b, _), (c, _) in zip(whole, broken, again, strict=True):
        for i, position in enumerate(positions):
            same = torch.equal(a["left"][i], b["left"][i])
            assert same == (order[position] != 4)
            assert torch.equal(b["left"][i], c["left"][i])


def test_damaged_sample_is_named(folder: Path, tmp_path: Path) -> None:
    shards = Shards.open(damage(folder, tmp_path / "copy", 4))
    loader = training_loader(
        shards, VIEW, seed=3, start=0, stop=13, batch_size=13, slots=range(13), workers=0
    )
    (batch,) = loader
    (text,) = set(batch.damaged)  # a substitute may be the damaged one again
    assert "s-000000.tar" in text
    assert "04" in text
    held_out_set = list(held_out_batches(shards, VIEW, range(13), 4))
    assert [i for raw in held_out_set for i in raw.positions] == [*range(4), *range(5, 13)]
    assert [text for raw in held_out_set for text in raw.damaged] == [text]


def test_augmentation_is_one_draw_for_all_fields() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    ids = (image[..., :1] // 16).astype(np.uint8)
    for seed in range(8):
        out = augment(
            {"image": image, "label": ids},
            frozenset({"label"}),
            (16, 24),
            None,
            True,
            0.0,
            np.random.default_rng(seed),
        )
        assert out["image"].shape == (16, 24, 3)
        assert np.array_equal(out["label"], out["image"][..., :1] // 16)


def test_labels_are_resized_by_nearest_and_never_jittered() -> None:
    ids = np.random.default_rng(0).choice([3, 200], (33, 47, 1)).astype(np.uint8)
    random = np.random.default_rng(0)
    out = augment({"x": ids}, frozenset({"x"}), (16, 16), (20, 20), True, 1.0, random)["x"]
    assert set(np.unique(out)) <= {3, 200}
    assert set(np.unique(held_out({"x": ids}, frozenset({"x"}), (9, 9), (20, 20))["x"])) <= {3, 200}


def test_held_out_takes_the_centre_or_the_whole() -> None:
    image = np.arange(10 * 12).reshape(10, 12, 1).astype(np.uint8)
    centre = held_out({"x": image}, frozenset(), (4, 4), None)["x"]
    assert np.array_equal(centre, image[3:7, 4:8])
    assert held_out({"x": image}, frozenset(), (4, 4), (8, 8))["x"].shape == (4, 4, 1)
