"""One rank of a panel: saves what it finds. Arguments: features or images, the file to write."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from gantrain.metrics import set_distances
from gantrain.metrics.features import Features
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.registry import FAMILIES

N = 5  # fewer than a batch, and not a multiple of the ranks; the last of several has none


def main(kind: str, out: str) -> None:
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    random = torch.Generator().manual_seed(0)
    found: dict[str, object] = {}
    if kind == "features":
        for rows, width in ((23, 40), (400, 40)):
            x, y = (
                torch.randn(rows, width, generator=random),
                torch.randn(rows + 9, width, generator=random) + 0.3,
            )
            pair = Features(x[rank::world]), Features(y[rank::world])
            found |= {f"{name}{rows}": distance(*pair) for name, distance in FAMILIES.items()}
            found[f"is{rows}"] = set_distances.inception_score(*pair)
    else:
        panel = MetricSuite(["l1", "ssim", "psnr_pooled", "fd_random0", "recall_random0", "swd", "spectrum", "histogram",
                       "diversity"], torch.device("cpu"), {}, N)  # fmt: skip
        fake, real, null = (torch.rand(N, 3, 48, 40, generator=random) * 2 - 1 for _ in range(3))
        holders = max(1, world - 1)
        if own := list(range(rank, N, holders) if rank < holders else ()):
            panel.add(fake[own], real[own], watched=torch.arange(N, dtype=torch.float64)[own])
            panel.add_images("null", null[own])
        found = {r.name: (r.value, r.null, r.n, r.null_n) for r in panel.results()}
    if rank == world - 1:
        Path(out).write_text(json.dumps(found))
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


main(*sys.argv[1:])
