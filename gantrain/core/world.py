"""The ranks of a run, and what their hardware has: device, threads, bf16."""

import gc
import os
import platform
import re
import sys
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

T = TypeVar("T")


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def set_threads(threads: int | str, device: torch.device) -> int:
    """CPU threads of this rank: cores over local ranks, since launchers set one for each rank."""
    if threads == "auto":
        # On a GPU the host only launches kernels; more threads would fight the loader's workers.
        threads = max(1, cores() // local_ranks()) if device.type == "cpu" else 1
    torch.set_num_threads(int(threads))
    return int(threads)


def local_ranks() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class World:
    """The ranks of this run."""

    def __init__(self, device: str) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device: found {device!r}, allowed: auto, cpu, cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device: found cuda, but PyTorch sees no GPU; allowed here: auto, cpu")
        if PartialState._shared_state and local_ranks() > 1 and not dist.is_initialized():
            raise ValueError(
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
        self.auto_precisions: dict[
            Path, str
        ] = {}  # what `precision: auto` means in the runs of this process

    @property
    def is_main(self) -> bool:
        return bool(self.rank == 0)

    def say(self, text: str) -> None:
        """On rank 0 only."""
        if self.is_main:
            say(text)

    def say_whole(self, text: str) -> None:
        """On rank 0 only, in lines that are not broken."""
        if self.is_main:
            say_whole(text)

    def broadcast_from_rank0(self, work: Callable[[], T]) -> T:
        """Rank 0's result on every rank; its ValueError is raised on every rank too."""
        return self._shared(work, 0)

    def once_per_node(self, work: Callable[[], T]) -> T:
        """What each node's first rank finds, on that node's ranks; a ValueError on every rank.

        Rank 0 goes first: nodes that share a disk find what it has made.
        """
        result = self.broadcast_from_rank0(work)
        return self._shared(lambda: result if self.is_main else work(), self.rank - self.local_rank)

    def node_leader_first(self, work: Callable[[], T]) -> T:
        """Each rank's own result; a node's first rank goes ahead, and finds what it fetches for
        the others.
        """
        made: list[T] = []
        self.once_per_node(lambda: made.append(work()))
        return made[0] if made else work()

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
        """Every rank's value, in rank order, on every rank."""
        return gathered(value)

    def raise_on_all_ranks(self, problems: list[str]) -> None:
        """Raises ValueError, on all ranks alike, where any rank has a problem."""
        found = dict.fromkeys(text for texts in self.gather(problems) for text in texts)
        if found:
            raise ValueError("\n".join(found))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """End the ranks' group. A user's mistake may be one rank's alone: then without waiting for
        the others.

        gloo's threads end when nobody holds a group any more; one that lives on and wants Python's
        lock while Python shuts down aborts the process. With other errors a peer may be gone, and a
        thread wait for it."""
        if dist.is_initialized() and (kind is None or issubclass(kind, ValueError)):
            if kind is None:
                dist.barrier()
            self.accelerator.free_memory()  # it holds the DDP modules
            dist.destroy_process_group()
            gc.collect()  # DDP modules stand in cycles


def describe_lost_rank(error: BaseException) -> str:
    """Words before an error that another rank's end has caused; empty before others."""
    lost = re.search(
        "closed by peer|reset by peer|remote process exited", str(error)
    )  # gloo's words, NCCL's
    return "another rank is gone, whose own output says why; " if lost else ""


def gathered(value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank; also without a World."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _forget_other_device(cpu: bool) -> None:
    """Have accelerate choose the device anew in a process, such as a notebook's, that has used
    another one.

    Its state outlives an Accelerator: a CPU would silently be used instead of the GPU, and a change
    from a GPU to a CPU would be refused."""
    device = PartialState._shared_state.get("device")
    if device is not None and not dist.is_initialized() and (device.type == "cpu") != cpu:
        AcceleratorState._reset_state(reset_partial_state=True)


def _rejoin_after_restart(backend: str) -> None:
    """After torchrun has restarted the ranks of one node: join them under keys of their own.

    Its store still has the addresses of the ranks before (pytorch issue 135712): who reads one of
    those waits for a dead process. Nodes count restarts each for itself: on several,
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps."""
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
    """Return the CPU's name with its family, model and stepping, since virtual machines shorten
    the name.
    """
    parts = [_cpu_line("model name") or platform.processor() or platform.machine()]
    for name in ("cpu family", "model", "stepping"):
        parts.append(f"{name} {_cpu_line(name) or 'unknown'}")
    return ", ".join(parts)


def _cpu_flags() -> set[str]:
    return set(_cpu_line("flags").split())


def _cpu_line(name: str) -> str:
    """Return the first value of that name in Linux's description of the CPUs; empty where there
    is none.
    """
    cpus = Path("/proc/cpuinfo")
    text = cpus.read_text(encoding="utf-8") if cpus.is_file() else ""
    match = re.search(rf"^{name}\s*:(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""
