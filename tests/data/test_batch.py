"""From file values to networks and back."""

import numpy as np
import pytest
import torch

from gantrain.data.batch import as_batch, channels, data_dims, normalise, to_files
from gantrain.data.shards import Field

SIZE = {"min_size": (4, 4), "max_size": (4, 4), "member": "x"}
CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_come_back_as_they_were(dtype: str) -> None:
    field = Field(channels=3, dtype=dtype, **SIZE)
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    values = (np.linspace(0, 1, 2 * 4 * 4 * 3) * top).astype(dtype).reshape(2, 4, 4, 3)
    raw = torch.from_numpy(values)
    seen = normalise(raw, field, torch.float32, CPU)
    assert seen.shape == (2, 3, 4, 4)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert seen.min() == -1
    assert seen.max() == pytest.approx(1)
    back = to_files(seen, field)
    assert back.dtype == raw.dtype
    np.testing.assert_allclose(back.numpy(), values, atol=0 if dtype != "float32" else 1e-6)


def test_pixels_of_no_class_are_the_last_channel() -> None:
    field = Field(channels=1, kind="label", classes=4, ignore=255, **SIZE)
    ids = torch.tensor([0, 2, 255, 1], dtype=torch.uint8).reshape(1, 2, 2, 1)
    seen = normalise(ids, field, torch.float32, CPU)
    assert seen.argmax(1).flatten().tolist() == [0, 2, 3, 1]
    assert torch.equal(seen.sum(1), torch.ones(1, 2, 2))
    assert (
        "ignore" not in Field(channels=1, **SIZE).model_dump_json()
    )  # older data sets' fingerprints


def test_class_ids_become_one_channel_a_class() -> None:
    field = Field(channels=1, kind="label", classes=5, **SIZE)
    ids = torch.randint(0, 5, (2, 4, 4, 1), dtype=torch.uint8)
    seen = normalise(ids, field, torch.float32, CPU)
    assert seen.shape == (2, 5, 4, 4)
    assert channels(field) == 5
    assert torch.equal(seen.argmax(1), ids[..., 0].long())
    assert torch.equal(seen.sum(1), torch.ones(2, 4, 4))


def edges(ids: np.ndarray) -> np.ndarray:
    """Of ids HW, pixel by pixel."""
    found = np.zeros(ids.shape, np.float32)
    for y, x in np.ndindex(ids.shape):
        neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [(j, i) for j, i in neighbours if 0 <= j < ids.shape[0] and 0 <= i < ids.shape[1]]
        found[y, x] = any(ids[j, i] != ids[y, x] for j, i in inside)
    return found


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 11)])
def test_edges_of_instances_are_the_sources_last_channel(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    ids = random.choice(
        np.array([0, 7, 26001, 26002, 65535], np.uint16), (3, *size, 1), p=[0.6, 0.1, 0.1, 0.1, 0.1]
    )
    fields = {
        "source": Field(channels=1, kind="label", classes=5, **SIZE),
        "target": Field(channels=3, **SIZE),
        "instances": Field(channels=1, kind="instances", dtype="uint16", **SIZE),
    }
    labels, photo = (
        random.integers(0, 5, (3, *size, 1), np.uint8),
        np.zeros((3, *size, 3), np.uint8),
    )
    raw = {
        "source": torch.from_numpy(labels),
        "target": torch.from_numpy(photo),
        "instances": torch.from_numpy(ids),
    }
    seen = as_batch(raw, fields, torch.float64, CPU)
    assert set(seen) == {"source", "target", "instances"}
    assert data_dims(fields) == {"source_channels": 6, "target_channels": 3}
    assert seen["source"].shape == (3, 6, *size)
    assert torch.equal(
        seen["source"][:, :5], normalise(raw["source"], fields["source"], torch.float64, CPU)
    )
    np.testing.assert_array_equal(
        seen["source"][:, 5].numpy(), np.stack([edges(one[..., 0]) for one in ids])
    )
