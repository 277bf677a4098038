"""Run by test_sync_batch.py under torchrun: each rank checks its share against the whole batch."""

import copy
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gantrain.networks import PatchGAN


def statistics(network):
    return {k: v for k, v in network.state_dict().items() if "running" in k or "tracked" in k}


def main(split: list[int]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    share = slice(sum(split[:rank]), sum(split[: rank + 1]))
    torch.manual_seed(0)
    network = PatchGAN(3, width=4, layers=2, norm="sync_batch").double()
    plain = PatchGAN(3, width=4, layers=2, norm="batch").double()
    plain.load_state_dict(copy.deepcopy(network.state_dict()))
    x = 5 + torch.randn(sum(split), 3, 32, 24, dtype=torch.float64)
    weights = torch.randn_like(plain(x)[0][-1])
    plain.load_state_dict(copy.deepcopy(network.state_dict()))

    whole = x.clone().requires_grad_()
    expected = plain(whole)[0][-1]
    (expected * weights).sum().backward()

    wrapped = DistributedDataParallel(network, broadcast_buffers=False)
    part = x[share].clone().requires_grad_()
    logits = wrapped(part)[0][-1]
    (logits * weights[share]).sum().backward()

    close = {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(logits, expected[share], **close)
    torch.testing.assert_close(part.grad, whole.grad[share], **close)
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        # DDP averages where one rank sums.
        torch.testing.assert_close(ours.grad * len(split), theirs.grad, **close)
    for key, value in statistics(plain).items():
        torch.testing.assert_close(network.state_dict()[key], value, **close)

    wrapped.eval()
    plain.eval()
    torch.testing.assert_close(wrapped(x[share])[0][-1], plain(x[share])[0][-1], **close)
    print("equal\n", end="", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1].split(",")])
