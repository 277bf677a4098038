"""Held-out samples during training: L1, PSNR, SSIM, and the preview sheet."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from gantrain.assembly import Assembly
from gantrain.data.loader import held_out_batches
from gantrain.data.shards import Shards
from gantrain.engine import seed_all
from gantrain.images import sheet, viewable
from gantrain.method import Batch, Method, float_buffers, is_random_at_test, set_inference

_REACH = 5  # pixels from the centre of SSIM's window to its edge
LARGER_IS_BETTER = {"l1": False, "psnr": True, "ssim": True}


class HeldOut:
    """A validation set as a method sees it. Sample i is the same on any number of ranks."""

    def __init__(self, parts: Assembly, shards: Shards) -> None:
        self.parts, self.shards, self.test_time = parts, shards, parts.recipe.test_time
        # Where an output depends on its batch or on chance, a batch of one makes it its own.
        alone = is_random_at_test(self.test_time.dropout, self.test_time.batch_statistics)
        self.batch_size = 1 if alone else 8
        self.damaged: set[str] = set()  # of those that this rank read

    def _batches(self, indices: range) -> Iterator[Batch]:
        view = self.parts.view(training=False)
        for raw in held_out_batches(self.shards, view, indices, self.batch_size):
            self.damaged.update(raw.damaged)
            seed_all(self.parts.recipe.seed, raw.positions[0])
            yield self.parts.batch(raw.fields)

    @torch.no_grad()
    def metrics(self, method: Method, most: int | None) -> dict[str, float]:
        """Means over the set, each sample once over all ranks, of float64 sums.

        l1 in [-1, 1]; psnr in dB, the mean of each image's; ssim with its 11x11 Gaussian.
        """
        set_inference(method, **self.test_time.model_dump())
        rank, world = self.parts.world.rank, self.parts.world.size
        if world > 1:  # batch norm's running statistics are each rank's own; rank 0's are saved
            for buffer in float_buffers(method):
                dist.broadcast(buffer, 0)
        total = min(len(self.shards), most or len(self.shards))
        sums: dict[str, Tensor] = {}
        for batch in self._batches(range(rank, total, world)):
            fake, target = method.translate(batch).double(), batch["target"].double()
            error = (fake - target).square().mean((1, 2, 3))
            values = {
                "samples": torch.ones_like(error),
                "l1": (fake - target).abs().mean((1, 2, 3)),
                "psnr": 10 * torch.log10(4 / error.clamp_min(1e-10)),
                **_ssim(fake, target),
                **{k: v.double().expand(len(fake)) for k, v in method.diagnose(batch).items()},
            }
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value.sum()
        # A rank may have had no sample, and then knows no names.
        ranks = self.parts.world.gather(({name: value.item() for name, value in sums.items()}, self.damaged))
        self.damaged = {text for _, damaged in ranks for text in damaged}
        totals = Counter[str]()
        for own, _ in ranks:
            totals.update(own)
        return {name: total / totals["samples"] for name, total in totals.items() if name != "samples"}

    @torch.no_grad()
    def preview(self, method: Method, samples: int) -> np.ndarray:
        """A sheet, source | fake | target, of the first samples."""
        set_inference(method, **self.test_time.model_dump())
        source, target, rows = self.parts.fields["source"], self.parts.fields["target"], []
        for batch in self._batches(range(min(samples, len(self.shards)))):
            fake = method.translate(batch)
            rows.append((viewable(batch["source"], source), viewable(fake, target), viewable(batch["target"], target)))
        return sheet([np.concatenate(column) for column in zip(*rows, strict=True)])


def _ssim(fake: Tensor, target: Tensor) -> dict[str, Tensor]:
    """SSIM of each image, where the images are larger than its window."""
    # Imported here: it takes a second that other commands need not wait for.
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    if min(fake.shape[2:]) <= 2 * _REACH + 1:
        return {}
    # Its luminance term wants values from 0 up: around 0 it falls apart.
    _, each = ssim((fake + 1) / 2, (target + 1) / 2, data_range=1.0, return_full_image=True)
    # Only where the window is whole, as the paper and scikit-image take the mean.
    return {"ssim": each[..., _REACH:-_REACH, _REACH:-_REACH].mean((1, 2, 3))}
