"""The ranks of a run and their hardware: device, threads, bf16."""

import gc
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # imported later, it would hold the ranks' group for ever
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment
from torch.distributed.rendezvous import rendezvous

from gantrain.core.console import say, say_whole
from gantrain.core.errors import UserError
from gantrain.core.threads import cores, local_ranks

T = TypeVar("T")


def set_threads(threads: int | str, device: torch.device) -> int:
    """Set PyTorch's number of CPU threads in this rank, and return it.

    threads: `auto` divides the cores by the ranks of this machine, since launchers set one thread
    for each rank.
    """
    if threads != "auto":
        count = int(threads)
    elif device.type == "cpu":
        count = max(1, cores() // local_ranks())
    else:
        count = 1  # the host only launches kernels; more threads would fight the loader's workers
    torch.set_num_threads(count)
    return count


class World:
    """The ranks of this run."""

    def __init__(self, device: str) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise UserError(f"device: found {device!r}, allowed: auto, cpu, cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("device: found cuda, but PyTorch sees no GPU; allowed here: auto, cpu")
        if PartialState._shared_state and local_ranks() > 1 and not dist.is_initialized():
            raise UserError(
                "launch: this process has left its ranks' group, allowed: a run in each launched"
                " process"
            )
        cpu = device == "cpu" or not torch.cuda.is_available()
        _forget_other_device(cpu)
        _rejoin_after_restart("gloo" if cpu else "nccl")
        with patch_environment(accelerate_use_deepspeed="false"):  # each phase has its own engine
            # The phases enter autocast themselves.
            self.accelerator = Accelerator(cpu=cpu, mixed_precision="no")
        if not cpu:
            torch.set_float32_matmul_precision("high")  # TF32, which convolutions have already
        self.rank = self.accelerator.process_index
        self.local_rank = self.accelerator.local_process_index
        self.size = self.accelerator.num_processes
        self.device = self.accelerator.device
        # What `precision: auto` means in the runs of this process, by the run's folder.
        self.auto_precisions: dict[Path, str] = {}

    @property
    def is_main(self) -> bool:
        return bool(self.rank == 0)

    def say(self, text: str) -> None:
        """Print a text, on rank 0 only."""
        if self.is_main:
            say(text)

    def say_whole(self, text: str) -> None:
        """Print a text in lines that are not broken, on rank 0 only."""
        if self.is_main:
            say_whole(text)

    def broadcast_from_rank0(self, work: Callable[[], T]) -> T:
        """Return rank 0's result of the work on every rank.

        Raises rank 0's UserError on every rank.
        """
        return self._shared(work, 0)

    def once_per_node(self, work: Callable[[], T]) -> T:
        """Return the result of each node's first rank on all ranks of that node.

        Rank 0 works first, so nodes that share a disk reuse what it has made. Raises a UserError
        of any of these ranks on every rank.
        """
        result = self.broadcast_from_rank0(work)
        return self._shared(lambda: result if self.is_main else work(), self.rank - self.local_rank)

    def node_leader_first(self, work: Callable[[], T]) -> T:
        """Return each rank's own result; a node's first rank works before the other ranks.

        The other ranks then use what the first one has fetched.
        """
        results: list[T] = []  # of a node's first rank
        self.once_per_node(lambda: results.append(work()))
        return results[0] if results else work()

    def _shared(self, work: Callable[[], T], owner: int) -> T:
        result: Any = None
        problems = []
        if self.rank == owner:
            try:
                result = work()
            except ValueError as e:
                problems.append(str(e))
        self.raise_on_all_ranks(problems)
        results: list[T] = self.gather(result)
        return results[owner]

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in rank order, on every rank."""
        return gathered(value)

    def gather_texts(self, texts: set[str]) -> set[str]:
        """Return the texts of all ranks together, on every rank."""
        return set[str]().union(*self.gather(texts))

    def raise_on_all_ranks(self, problems: list[str]) -> None:
        """Raise UserError on all ranks where any rank has a problem."""
        distinct: dict[str, None] = {}
        for texts in self.gather(problems):
            distinct |= dict.fromkeys(texts)
        if distinct:
            raise UserError("\n".join(distinct))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """End the ranks' group.

        A user's mistake may have happened on one rank only, which then does not wait for the
        others. gloo's threads end when no object holds a group any more; a thread that lives on and
        takes Python's lock while Python shuts down aborts the process. After other errors the group
        stays: a peer may be gone, and a thread may wait for it.
        """
        if dist.is_initialized() and (kind is None or issubclass(kind, ValueError)):
            if kind is None:
                dist.barrier()
            self.accelerator.free_memory()  # it holds the DDP modules
            dist.destroy_process_group()
            gc.collect()  # DDP modules stand in cycles


def describe_lost_rank(error: BaseException) -> str:
    """Return the words before an error that another rank's end has caused; empty before others."""
    # The words of gloo, and of NCCL.
    lost = re.search("closed by peer|reset by peer|remote process exited", str(error))
    return "another rank is gone, whose own output says why; " if lost else ""


def gathered(value: T) -> list[T]:
    """Return every rank's value, in rank order, on every rank; also without a World."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _forget_other_device(cpu: bool) -> None:
    """Have accelerate choose the device anew.

    A process, such as that of a notebook, may have used another device before. Its state outlives
    an Accelerator: a CPU would silently be used instead of the GPU, and a change from a GPU to a
    CPU would be refused.
    """
    device = PartialState._shared_state.get("device")
    if device is not None and not dist.is_initialized() and (device.type == "cpu") != cpu:
        AcceleratorState._reset_state(reset_partial_state=True)


def _rejoin_after_restart(backend: str) -> None:
    """Join the ranks of one node under keys of their own after torchrun has restarted them.

    torchrun's store still has the addresses of the earlier ranks (pytorch issue 135712); a rank
    that reads one of them waits for a dead process. Each node counts its own restarts: on several
    nodes, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt != "0" and os.environ.get("GROUP_WORLD_SIZE") == "1":
        store, rank, size = next(rendezvous("env://"))
        own = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=own, rank=rank, world_size=size)


def has_bf16(device: torch.device) -> bool:
    """Return whether the hardware computes in bf16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def cpu_model() -> str:
    """Return the CPU's name with its family, model and stepping.

    Virtual machines shorten the name, so that the name alone does not suffice.
    """
    names = [_cpu_line("model name") or platform.processor() or platform.machine()]
    for field in ("cpu family", "model", "stepping"):
        names.append(f"{field} {_cpu_line(field) or 'unknown'}")
    return ", ".join(names)


def _cpu_flags() -> set[str]:
    return set(_cpu_line("flags").split())


def _cpu_line(name: str) -> str:
    """Return the first value of that name in Linux's description of the CPUs.

    It is empty where there is none.
    """
    cpus = Path("/proc/cpuinfo")
    text = cpus.read_text(encoding="utf-8") if cpus.is_file() else ""
    match = re.search(rf"^{name}\s*:(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""
