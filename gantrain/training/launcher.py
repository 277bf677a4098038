"""What a launcher says beyond the ranks, and whether it started what the user asked for."""

import ctypes
import hashlib
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gantrain.core.world import World
from gantrain.recipe.differences import differences
from gantrain.recipe.schema import Recipe, from_dict
from gantrain.training import zero

_PR_SET_PDEATHSIG = 1
# Of accelerate: a setting and the one value that gantrain has; of the recipe: key, value, default.
_SETTINGS = (
    ("mixed_precision", "bf16", "precision", "bf16", "auto"),
    ("dynamo_backend", "inductor", "compile", True, False),
)


def agree_with_launcher(recipe: Recipe, env: Mapping[str, str] = os.environ) -> Recipe:
    """The recipe with what `accelerate launch` or its config sets beyond the world.

    The launcher's own defaults (no mixed precision, no accumulation, no compilation) count as
    unsaid. Raises ValueError where recipe and launcher disagree, or for what gantrain can't do.
    """
    content, problems = recipe.dump(), []

    def take(key: str, said: Any, unsaid: Any) -> None:
        if content[key] not in (unsaid, said):
            problems.append(
                f"{key}: the recipe says {content[key]}, accelerate's configuration {said}; remove"
                " one of them"
            )
        content[key] = said

    def uses(what: str) -> bool:
        return env.get(f"ACCELERATE_USE_{what}", "false").lower() in ("true", "1")

    if uses("CPU"):
        take("device", "cpu", "auto")
    for setting, allowed, key, value, unsaid in _SETTINGS:
        found = env.get(f"ACCELERATE_{setting.upper()}", "no").lower()
        if found == allowed:
            take(key, value, unsaid)
        elif found != "no":
            problems.append(
                f"{key}: accelerate's {setting} says {found}, allowed: {allowed} or no; change it"
                " there"
            )
    steps = env.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    pieces = int(env.get("WORLD_SIZE", "1")) * (int(steps) if steps.isdecimal() else 0)
    if pieces == 0:
        problems.append(
            f"micro_batch_size: accelerate's configuration says {steps} accumulation steps, "
            "allowed: a whole number (at least 1); change gradient_accumulation_steps"
        )
    elif steps != "1" and recipe.batch_size % pieces:
        problems.append(
            f"batch_size: found {recipe.batch_size}, ranks x {steps} accumulation need a multiple"
            f" of {pieces}"
        )
    elif steps != "1":
        take("micro_batch_size", recipe.batch_size // pieces, None)
    for engine in ("FSDP", "MEGATRON_LM"):
        if uses(engine):
            problems.append(
                f"launch: accelerate's configuration asks for {engine}; gantrain trains with "
                "torch's DDP or DeepSpeed's ZeRO: use a configuration without it"
            )
    if uses("DEEPSPEED"):
        try:
            stage, bf16 = zero.from_launcher(env)
            take("zero_stage", stage, 0)
            if bf16:
                take("precision", "bf16", "auto")
        except ValueError as e:
            problems += str(e).splitlines()
    if problems:
        raise ValueError("\n".join(problems))
    return from_dict(content)


def exit_with_parent(env: Mapping[str, str] = os.environ) -> None:
    """Have the kernel send SIGTERM when the launcher dies (Linux): no rank writes on alone."""
    launched = "ACCELERATE_MIXED_PRECISION" in env or "TORCHELASTIC_RUN_ID" in env
    if launched and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # It may have died while torch was imported, before the kernel was told: then this rank's
        # parent is init or the user's systemd. In a container the launcher itself may be process 1.
        parent, _, _ = _parent().partition(" ")
        adopted = "python" not in parent if os.getppid() == 1 else "systemd" in parent
        if parent and adopted:
            sys.exit("launcher is gone")


def stop_without_retry() -> None:
    """Have torchrun not try again what would fail again: `--max-restarts` is for crashes."""
    left = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if left > int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        os.kill(os.getppid(), signal.SIGTERM)


def check_ranks(world: World, recipe: Recipe, env: Mapping[str, str] = os.environ) -> None:
    """Raises ValueError, on all ranks, where they aren't those that were asked for, or differ."""
    problems = []
    for asked, by in _asked(env):
        if asked != world.size:
            problems.append(
                f"launch: {by} {asked} processes, found {world.size} that know of one another; "
                "start with torchrun, or accelerate launch with a configuration of "
                "launchers/accelerate (its --cpu starts one process, whatever --num_processes says)"
            )
    own = {**recipe.dump(), "code": _code()}
    if changed := differences(world.gather(own)[0], own, allowed=()):
        problems.append(
            f"launch: rank {world.rank} was started with another recipe or other code than rank 0: "
            f"{'; '.join(changed)}; use the same command, gantrain and torch on every node"
        )
    world.raise_on_all_ranks(problems)


def _asked(env: Mapping[str, str]) -> list[tuple[int, str]]:
    """How many processes who asked for, where it is known."""
    asked = []
    if "GANTRAIN_WORLD_SIZE" in env:
        asked.append((int(env["GANTRAIN_WORLD_SIZE"]), "the SLURM script asked for"))
    if "WORLD_SIZE" not in env and "SLURM_STEP_NUM_TASKS" in env:
        asked.append((int(env["SLURM_STEP_NUM_TASKS"]), "srun started"))
    # Only the launcher's own command line tells.
    number = re.search(r"accelerate.* --num[_-]processes[ =](\d+) ", _parent())
    if "ACCELERATE_MIXED_PRECISION" in env and number:
        asked.append((int(number[1]), "accelerate launch was asked for"))
    return asked


def _parent() -> str:
    """The parent's command line; empty where there is no /proc, which is Linux's."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("\0", " ")
    except (OSError, UnicodeDecodeError):
        return ""


def _code() -> str:
    """Says which gantrain and torch this is."""
    digest = hashlib.sha256(torch.__version__.encode())
    folder = Path(__file__).parents[1]
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
