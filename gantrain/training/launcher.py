"""Reads the launcher's settings, and checks that it started the requested processes."""

import ctypes
import hashlib
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from gantrain.core.errors import UserError
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
_ENGINES = ("FSDP", "MEGATRON_LM")  # of accelerate, which gantrain does not have


def agree_with_launcher(recipe: Recipe, env: Mapping[str, str] = os.environ) -> Recipe:
    """Return the recipe with what `accelerate launch` or its config sets beyond the world.

    The launcher's own defaults (no mixed precision, no accumulation, no compilation) count as
    unsaid. Raises UserError where recipe and launcher disagree, or for what gantrain can't do.
    """
    settings = _LauncherSettings(recipe, env)
    if settings.uses("CPU"):
        settings.take("device", "cpu", "auto")
    settings.take_precision_and_compilation()
    settings.take_accumulation()
    for engine in _ENGINES:
        if settings.uses(engine):
            settings.problems.append(
                f"launch: accelerate's configuration asks for {engine}; gantrain trains with "
                "torch's DDP or DeepSpeed's ZeRO: use a configuration without it"
            )
    if settings.uses("DEEPSPEED"):
        settings.take_deepspeed()
    if settings.problems:
        raise UserError("\n".join(settings.problems))
    return from_dict(settings.content)


class _LauncherSettings:
    """The settings of accelerate's launcher, which are taken over into a recipe's content.

    problems: a line for each disagreement.
    """

    def __init__(self, recipe: Recipe, env: Mapping[str, str]) -> None:
        self.content = recipe.dump()
        self.problems: list[str] = []
        self._env = env

    def uses(self, feature: str) -> bool:
        """Return whether the launcher has turned a feature of accelerate on."""
        return self._env.get(f"ACCELERATE_USE_{feature}", "false").lower() in ("true", "1")

    def take(self, key: str, value: object, default: object) -> None:
        """Set a key of the recipe, which must have its default or the same value."""
        if self.content[key] not in (default, value):
            self.problems.append(
                f"{key}: the recipe says {self.content[key]}, accelerate's configuration {value};"
                " remove one of them"
            )
        self.content[key] = value

    def take_precision_and_compilation(self) -> None:
        for setting, allowed, key, value, default in _SETTINGS:
            given = self._env.get(f"ACCELERATE_{setting.upper()}", "no").lower()
            if given == allowed:
                self.take(key, value, default)
            elif given != "no":
                self.problems.append(
                    f"{key}: accelerate's {setting} says {given}, allowed: {allowed} or no; change"
                    " it there"
                )

    def take_accumulation(self) -> None:
        """Set `micro_batch_size` from the launcher's number of accumulation steps."""
        steps = self._env.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
        if not steps.isdecimal() or int(steps) == 0:
            self.problems.append(
                f"micro_batch_size: accelerate's configuration says {steps} accumulation steps, "
                "allowed: a whole number (at least 1); change gradient_accumulation_steps"
            )
            return
        if steps == "1":
            return
        batch_size = self.content["batch_size"]
        pieces = int(self._env.get("WORLD_SIZE", "1")) * int(steps)
        if batch_size % pieces:
            self.problems.append(
                f"batch_size: found {batch_size}, ranks x {steps} accumulation need a multiple"
                f" of {pieces}"
            )
        else:
            self.take("micro_batch_size", batch_size // pieces, None)

    def take_deepspeed(self) -> None:
        """Set `zero_stage`, and `precision` where DeepSpeed's configuration has bf16."""
        try:
            stage, bf16 = zero.from_launcher(self._env)
        except ValueError as e:
            self.problems += str(e).splitlines()
            return
        self.take("zero_stage", stage, 0)
        if bf16:
            self.take("precision", "bf16", "auto")


def exit_with_parent(env: Mapping[str, str] = os.environ) -> None:
    """Have the kernel send SIGTERM when the launcher dies (Linux), so that no rank writes on."""
    launched = "ACCELERATE_MIXED_PRECISION" in env or "TORCHELASTIC_RUN_ID" in env
    if launched and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # It may have died while torch was imported, before this call: then this rank's parent is
        # init or the user's systemd. In a container the launcher itself may be process 1.
        parent = _parent().partition(" ")[0]
        adopted = "python" not in parent if os.getppid() == 1 else "systemd" in parent
        if parent and adopted:
            sys.exit("launcher is gone")


def stop_without_retry() -> None:
    """Stop torchrun, which would restart the ranks; `--max-restarts` is for crashes only."""
    left = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if left > int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        os.kill(os.getppid(), signal.SIGTERM)


def check_ranks(world: World, recipe: Recipe, env: Mapping[str, str] = os.environ) -> None:
    """Raise UserError on all ranks where their number is wrong, or where their recipes differ."""
    problems = []
    for count, starter in _requested_ranks(env):
        if count != world.size:
            problems.append(
                f"launch: {starter} {count} processes, found {world.size} that know of one another;"
                " start with torchrun, or accelerate launch with a configuration of "
                "launchers/accelerate (its --cpu starts one process, whatever --num_processes says)"
            )
    own = {**recipe.dump(), "code": _code()}
    changes = differences(world.gather(own)[0], own, allowed=())
    if changes:
        problems.append(
            f"launch: rank {world.rank} was started with another recipe or other code than rank 0: "
            f"{'; '.join(changes)}; use the same command, gantrain and torch on every node"
        )
    world.raise_on_all_ranks(problems)


def _requested_ranks(env: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return each requested number of processes that is known, and the words for its source."""
    requested = []
    if "GANTRAIN_WORLD_SIZE" in env:
        requested.append((int(env["GANTRAIN_WORLD_SIZE"]), "the SLURM script asked for"))
    if "WORLD_SIZE" not in env and "SLURM_STEP_NUM_TASKS" in env:
        requested.append((int(env["SLURM_STEP_NUM_TASKS"]), "srun started"))
    # Only the launcher's own command line has the number.
    number = re.search(r"accelerate.* --num[_-]processes[ =](\d+) ", _parent())
    if "ACCELERATE_MIXED_PRECISION" in env and number:
        requested.append((int(number[1]), "accelerate launch was asked for"))
    return requested


def _parent() -> str:
    """Return the parent's command line; empty where there is no /proc, which is Linux's."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("\0", " ")
    except (OSError, UnicodeDecodeError):
        return ""


def _code() -> str:
    """Return a digest of gantrain's source code and torch's version."""
    digest = hashlib.sha256(torch.__version__.encode())
    folder = Path(__file__).parents[1]
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
