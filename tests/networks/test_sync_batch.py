import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gantrain.networks.sync_batch import SyncBatchNorm2d

WORKER = Path(__file__).with_name("sync_batch_worker.py")


@pytest.mark.slow
@pytest.mark.parametrize("split", [pytest.param("2,2", marks=pytest.mark.exhaustive), "3,1"])
def test_two_ranks_equal_one(split):
    """Outputs, gradients and running statistics, with DDP, in float64 on CPU."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(WORKER), split], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equal") == 2


@pytest.mark.parametrize("training", [True, False])
def test_alone_it_is_batch_norm(training):
    torch.manual_seed(0)
    ours = SyncBatchNorm2d(3).double().train(training)
    plain = torch.nn.BatchNorm2d(3).double().train(training)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)
    assert list(ours.state_dict()) == list(plain.state_dict())
    for key, value in plain.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key])
