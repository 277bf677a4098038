"""Comparing what two runs left."""

from pathlib import Path

import torch
from safetensors.torch import load_file


def tensors(run: str, images_seen: int) -> dict[str, torch.Tensor]:
    """Every tensor of a run's checkpoint, by file and name."""
    folder = Path("runs") / run / "checkpoints" / f"{images_seen:09d}"
    assert (folder / "state.json").is_file(), sorted(folder.parent.iterdir())
    content = {}
    for file in sorted(folder.rglob("*.safetensors")):
        for name, value in load_file(file).items():
            content[f"{file.relative_to(folder).with_suffix('')}/{name}"] = value
    assert content
    return content


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, different


def assert_close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float) -> None:
    """The weights; an optimiser's moments say the same at another scale."""
    assert a.keys() == b.keys()
    weights = [name for name in a if name.startswith(("networks/", "ema/"))]
    assert weights
    for name in weights:
        difference = (a[name] - b[name]).abs().max().item()
        assert difference < tolerance, (name, difference)
