"""A phase under DDP finds no unused parameter, and says nothing of it."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

WORKER = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from gantrain.training.ddp import _use_up_warning

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
parallel = DistributedDataParallel(module, find_unused_parameters=True)
if sys.argv[1] == "quiet":
    _use_up_warning(torch.device("cpu"))
with parallel.no_sync():  # no reduction has begun
    parallel(torch.ones(5, 3)).sum().backward()
for _ in range(2):
    module.zero_grad()
    parallel(torch.ones(5, 3)).sum().backward()
    found = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(torch.ones(5, 3)).sum().backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), found))
dist.destroy_process_group()
"""


@pytest.mark.parametrize("mode", ["quiet", "loud"])
def test_the_warning_of_unused_parameters_is_used_up(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, mode],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert ("find_unused_parameters" in done.stderr) == (mode == "loud")
