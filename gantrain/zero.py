"""A phase under DeepSpeed's ZeRO: the optimiser's state, or gradients too, spread over the ranks.

Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054, stages 1 and 2. Each phase has an engine
of its own, and DeepSpeed neither clips nor looks at the gradients: gantrain.engine does.
"""

import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gantrain.checkpoint import Tensors
from gantrain.method import Batch

_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
_KEYS = ("zero_optimization", "bf16", "gradient_clipping")


def check(stage: int, precision: str) -> None:
    """Raises ValueError where ZeRO can't work here."""
    if stage and importlib.util.find_spec("deepspeed") is None:
        raise ValueError(
            f"zero_stage: found {stage}, DeepSpeed is not installed; pip install 'gantrain[deepspeed]', or zero_stage=0"
        )
    if stage and not dist.is_initialized():
        raise ValueError(
            f"zero_stage: found {stage} without a launcher; start with `accelerate launch -m "
            "gantrain.train ...`, or zero_stage=0"
        )
    if stage and precision == "fp64":
        raise ValueError(
            f"zero_stage: found {stage} with precision=fp64, DeepSpeed keeps weights in fp32; "
            "allowed: zero_stage=0, or precision=fp32 or bf16"
        )


def from_launcher(env: Mapping[str, str]) -> tuple[int, bool]:
    """The stage, and whether in bf16, that accelerate's DeepSpeed settings ask for.

    Raises ValueError for what gantrain does not hand to DeepSpeed.
    """
    config = _config_file(env)
    zero = config.get("zero_optimization", {})
    stage = zero.get("stage", 0) if config else int(env.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", 2))
    clipping = config.get("gradient_clipping", env.get("ACCELERATE_GRADIENT_CLIPPING", "0"))
    problems = []
    if stage not in (1, 2):
        problems.append(f"zero_stage: the DeepSpeed configuration says {stage}, allowed: 1 or 2")
    if str(clipping) not in ("auto", "none") and float(clipping):
        problems.append(
            f"optimizer.clip: the DeepSpeed configuration clips gradients to {clipping}; set "
            "gradient_clipping to 0.0 there and optimizer.clip in the recipe"
        )
    other = [k for k in config if k not in _KEYS and config[k] != "auto"] + [k for k in zero if "offload" in k]
    other += [k for k in env if k.startswith("ACCELERATE_DEEPSPEED_OFFLOAD") and env[k] not in ("none", "false")]
    if other:
        what = f"the DeepSpeed configuration has {', '.join(other)}, allowed: {', '.join(_KEYS)} without offload"
        problems.append(f"zero_stage: {what}; the recipe says the rest")
    if problems:
        raise ValueError("\n".join(problems))
    return stage, config.get("bf16", {}).get("enabled") is True


def _config_file(env: Mapping[str, str]) -> dict[str, Any]:
    path = env.get(_FILE)
    if path is None:
        return {}
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**config}
    except (OSError, ValueError, TypeError) as e:
        raise ValueError(f"{path}: is no DeepSpeed configuration in JSON ({e})") from None


class Sharded:
    """`Ranks` of gantrain.engine."""

    sharded = True

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, stage: int, env: Mapping[str, str]) -> None:
        # It looks for devices by itself, tells of every setting, and calls what torch deprecates.
        os.environ.setdefault("DS_ACCELERATOR", next(module.parameters()).device.type)
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", ".*all_gather_into_tensor", FutureWarning)
        import deepspeed

        zero = _config_file(env).get("zero_optimization", {})
        self.optimizer = optimizer
        self.engine, self.zero, _, _ = deepspeed.initialize(
            model=module,
            optimizer=optimizer,
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": 1,  # for its counters only
                "zero_optimization": {**zero, "stage": stage, "compute_grad_norm": False},
                "gradient_clipping": 0.0,  # its own default is 1.0
                "zero_allow_untested_optimizer": True,  # torch's fused Adam
                "steps_per_print": None,
            },
        )

    def backward(self, *inputs: Any, pieces: int, last: bool) -> tuple[Batch, dict[str, Tensor]]:
        self.engine.set_gradient_accumulation_boundary(last)
        loss, carried, stats = self.engine(*inputs)
        self.engine.backward(loss / pieces, scale_wrt_gas=False)
        return carried, stats

    def __str__(self) -> str:
        return f"DeepSpeed's ZeRO-{self.engine.zero_optimization_stage()}"

    def step(self) -> None:
        self.engine.step()

    def state(self, names: dict[nn.Parameter, str]) -> Tensors:
        """As DDP's: whole tensors by parameter. Every rank calls it, for each holds a part."""
        (share,) = self.optimizer.param_groups[0]["params"]
        tensors = {}
        for p in self.engine.module.parameters():
            for key, value in self.optimizer.state[share].items():
                if value.shape == share.shape:
                    whole = torch.zeros(p.numel(), dtype=value.dtype, device=value.device)
                    for ours, place in _places(p):
                        whole[place] = value[ours]
                    dist.all_reduce(whole)
                    value = whole.view_as(p)
                tensors[f"{names[p]}/{key}"] = value.clone()  # all share one step count
        return tensors

    def load_state(self, saved: Tensors, names: dict[nn.Parameter, str]) -> None:
        """After the weights, of which ZeRO keeps a copy that it updates."""
        self.zero.refresh_fp32_params()
        (share,) = self.optimizer.param_groups[0]["params"]
        state = self.optimizer.state[share]
        for p in self.engine.module.parameters():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = saved.get(f"{names[p]}/{key}")
                if value is None:
                    continue
                if key == "step":
                    state[key] = value.to(share.device)
                    continue
                state.setdefault(key, torch.zeros_like(share))
                for ours, place in _places(p):
                    state[key][ours] = value.flatten()[place].to(share.device)


def _places(p: Any) -> list[tuple[slice, slice]]:
    """Where this rank's share holds a parameter's elements, and which; none or one stretch."""
    mapping = p._hp_mapping
    if mapping is None:
        return []
    inside, of = mapping.get_hp_fragment_address(), mapping.lp_fragment_address
    return [(slice(inside.start, inside.start + inside.numel), slice(of.start, of.start + of.numel))]
