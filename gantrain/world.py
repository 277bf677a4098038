"""What a launcher gives: ranks, devices, threads, and settings that the recipe must agree with."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator

from gantrain.recipe import Recipe, from_dict

T = TypeVar("T")
_PR_SET_PDEATHSIG = 1


def agree_with_launcher(recipe: Recipe, env: Mapping[str, str] = os.environ) -> Recipe:
    """The recipe with what `accelerate launch` or its config sets beyond the world.

    The launcher's own defaults (no mixed precision, no accumulation, no compilation) count as
    unsaid. Raises ValueError where recipe and launcher disagree, or for what gantrain can't do.
    """
    content, problems = recipe.dump(), []

    def take(key: str, said: Any, unsaid: Any) -> None:
        if content[key] not in (unsaid, said):
            problems.append(
                f"{key}: the recipe says {content[key]}, accelerate's configuration {said}; "
                "remove one of them"
            )
        content[key] = said

    precision = env.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision == "bf16":
        take("precision", "bf16", "auto")
    elif precision != "no":
        problems.append(
            f"precision: accelerate's configuration says {precision}, allowed: bf16 or no; "
            "change mixed_precision"
        )
    steps = env.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    accumulation = int(steps) if steps.isdecimal() else 0
    if accumulation < 1:
        problems.append(
            f"micro_batch_size: accelerate's configuration says {steps} accumulation steps, "
            "allowed: a whole number (at least 1); change gradient_accumulation_steps"
        )
    elif accumulation > 1:
        world = int(env.get("WORLD_SIZE", "1"))
        if recipe.batch_size % (world * accumulation):
            problems.append(
                f"batch_size: found {recipe.batch_size}, {world} ranks x {accumulation} "
                f"accumulation need a multiple of {world * accumulation}"
            )
        else:
            take("micro_batch_size", recipe.batch_size // (world * accumulation), None)
    backend = env.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    if backend == "inductor":
        take("compile", True, False)
    elif backend != "no":
        problems.append(
            f"compile: accelerate's dynamo backend is {backend}, allowed: inductor or no; "
            "change dynamo_backend"
        )
    for engine in ("DEEPSPEED", "FSDP", "MEGATRON_LM"):
        if env.get(f"ACCELERATE_USE_{engine}", "false").lower() in ("true", "1"):
            problems.append(
                f"launch: accelerate's configuration asks for {engine}; gantrain trains with "
                "torch's DDP: use a configuration without it"
            )
    if problems:
        raise ValueError("\n".join(problems))
    return from_dict(content)


def die_with_launcher(env: Mapping[str, str] = os.environ) -> None:
    """Have the kernel send SIGTERM when the launcher dies (Linux): no rank writes on alone."""
    launched = "ACCELERATE_MIXED_PRECISION" in env or "TORCHELASTIC_RUN_ID" in env
    if launched and sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was told
            sys.exit("launcher is gone")


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

    def __init__(self, device: str, trackers: list[str], folder: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device: found cuda, but torch sees no GPU; allowed here: auto, cpu")
        cpu = device == "cpu" or not torch.cuda.is_available()
        self.accelerator = Accelerator(
            cpu=cpu,
            mixed_precision="no",  # the phases enter autocast themselves
            log_with=trackers or None,
            project_dir=folder,
        )
        if not cpu:
            torch.set_float32_matmul_precision("high")  # TF32, which convolutions have already
        self.rank = self.accelerator.process_index
        self.size = self.accelerator.num_processes
        self.device = self.accelerator.device

    @property
    def is_main(self) -> bool:
        return bool(self.rank == 0)

    def on_main(self, work: Callable[[], T]) -> T:
        """Rank 0's result on every rank; its ValueError is raised on every rank too."""
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = work()
            except ValueError as e:
                outcome[1] = str(e)
        if self.size > 1:
            dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise ValueError(outcome[1])
        result: T = outcome[0]
        return result

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Leave together; without this, gloo's threads abort some of the processes at exit."""
        if dist.is_initialized():
            dist.barrier()
            self.accelerator.free_memory()  # it holds the DDP modules
            dist.destroy_process_group()


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bf16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return set()
    return set(lines[0].split()) if lines else set()
