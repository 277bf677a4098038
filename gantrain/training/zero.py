"""A phase under DeepSpeed's ZeRO: the optimiser's state, or gradients too, spread over the ranks.

Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054, stages 1 and 2. Each phase has an engine
of its own, and DeepSpeed neither clips nor looks at the gradients: gantrain.training.step does.
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

from gantrain.core.errors import UserError
from gantrain.methods.base import Batch
from gantrain.runs.checkpoint import Tensors
from gantrain.training.gradients import clip_gradients, gradient_norm, skip_if_nonfinite

_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
_KEYS = ("zero_optimization", "bf16", "gradient_clipping")
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


def check(stage: int, precision: str, lr_factors: Mapping[str, float]) -> None:
    """Raise UserError where ZeRO can't work here."""
    if not stage:
        return
    if importlib.util.find_spec("deepspeed") is None:
        problem = ", DeepSpeed is not installed; pip install 'gantrain[deepspeed]'"
    elif not dist.is_initialized():
        problem = " without a launcher; start with `accelerate launch -m gantrain.train ...`"
    elif lr_factors:
        problem = (
            " with optimizer.lr_factors, each rank has its optimiser in one piece; give phases"
            " their lr"
        )
    elif precision == "fp64":
        problem = (
            " with precision=fp64, DeepSpeed keeps weights in fp32; allowed: precision=fp32 or bf16"
        )
    else:
        return
    raise UserError(f"zero_stage: found {stage}{problem}, or zero_stage=0")


def from_launcher(env: Mapping[str, str]) -> tuple[int, bool]:
    """Return the stage, and whether in bf16, that accelerate's DeepSpeed settings ask for.

    Raises UserError for what gantrain does not hand to DeepSpeed.
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
            "optimizer.grad_clip_norm: the DeepSpeed configuration clips gradients to"
            f" {clipping}; set gradient_clipping to 0.0 there and optimizer.grad_clip_norm in the"
            " recipe"
        )
    other = [k for k in config if k not in _KEYS and config[k] != "auto"] + [
        k for k in zero if "offload" in k
    ]
    other += [
        k
        for k in env
        if k.startswith("ACCELERATE_DEEPSPEED_OFFLOAD") and env[k] not in ("none", "false")
    ]
    if other:
        what = (
            f"the DeepSpeed configuration has {', '.join(other)}, allowed: {', '.join(_KEYS)}"
            " without offload"
        )
        problems.append(f"zero_stage: {what}; the recipe says the rest")
    if problems:
        raise UserError("\n".join(problems))
    return stage, config.get("bf16", {}).get("enabled") is True


def _config_file(env: Mapping[str, str]) -> dict[str, Any]:
    path = env.get(_FILE)
    if path is None:
        return {}
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**config}
    except (OSError, ValueError, TypeError) as e:
        raise UserError(f"{path}: is no DeepSpeed configuration in JSON ({e})") from None


class ZeROPhase:
    """A phase in DeepSpeed's ZeRO: each rank updates a part of the parameters.

    It has the functions of gantrain.training.ddp.DDPPhase.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        stage: int,
        env: Mapping[str, str],
    ) -> None:
        # DeepSpeed looks for devices itself, logs every setting, and calls deprecated functions.
        os.environ.setdefault("DS_ACCELERATOR", next(module.parameters()).device.type)
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", ".*all_gather_into_tensor", FutureWarning)
        import deepspeed

        zero = _config_file(env).get("zero_optimization", {})
        self.optimizer = optimizer
        device = next(module.parameters()).device
        self.largest_norm: float | None = None
        self.norm = torch.zeros((), device=device)
        self.is_nonfinite = torch.zeros((), device=device)
        optimizer.register_step_pre_hook(lambda *_: self._mask_and_clip())
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

    def backward(self, *inputs: object, pieces: int, last: bool) -> tuple[Batch, dict[str, Tensor]]:
        self.engine.set_gradient_accumulation_boundary(last)
        loss, carried, stats = self.engine(*inputs)
        self.engine.backward(loss / pieces, scale_wrt_gas=False)
        return carried, stats

    def __str__(self) -> str:
        return f"DeepSpeed's ZeRO-{self.engine.zero_optimization_stage()}"

    def step(self, largest_norm: float | None) -> tuple[Tensor, Tensor]:
        """Update the weights with clipped gradients.

        largest_norm: to which the gradients are clipped; None does not clip.

        Returns scalars on the device: the norm of all gradients, and 1 where the update was skipped
        because the norm is not finite, else 0.
        """
        self.largest_norm = largest_norm
        self.engine.step()
        return self.norm, self.is_nonfinite

    @torch.no_grad()
    def _mask_and_clip(self) -> None:
        """Measure, mask and clip this rank's part of the gradients, before the optimiser's update.

        DeepSpeed owns the gradients until it calls the optimiser, so this is the optimiser's hook.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        squared_norm = gradient_norm(parameters).square()
        dist.all_reduce(squared_norm)
        self.norm = squared_norm.sqrt()
        self.is_nonfinite = skip_if_nonfinite(self.optimizer, self.norm)
        clip_gradients(parameters, self.norm, self.largest_norm)

    def state(self, names: dict[nn.Parameter, str]) -> Tensors:
        """Return the optimiser's whole tensors by parameter, with the names of DDPPhase.state.

        Every rank calls it, since each rank holds a part.
        """
        from deepspeed.utils import safe_get_full_optimizer_state

        (partition,) = self.optimizer.param_groups[0]["params"]
        step = self.optimizer.state[partition]["step"]  # one for all parameters
        tensors = {}
        for p in self.engine.module.parameters():
            if not p.requires_grad:
                continue
            tensors[f"{names[p]}/step"] = step.clone()
            for key in _MOMENTS:
                tensors[f"{names[p]}/{key}"] = safe_get_full_optimizer_state(p, key)
        return tensors

    def load_state(self, saved: Tensors, names: dict[nn.Parameter, str]) -> None:
        """Restore the optimiser's tensors.

        It is called after the weights are loaded, of which ZeRO keeps a copy that it updates.
        """
        from deepspeed.utils import safe_set_full_optimizer_state

        self.zero.refresh_fp32_params()
        (partition,) = self.optimizer.param_groups[0]["params"]
        state = self.optimizer.state[partition]
        state["step"] = next(value for name, value in saved.items() if name.endswith("/step")).to(
            partition.device
        )
        state.update({key: torch.zeros_like(partition) for key in _MOMENTS})
        self.zero._lazy_init_hp_params_optimizer_state()  # else it does that at its first step
        for p in self.engine.module.parameters():
            for key in _MOMENTS:
                value = saved.get(f"{names[p]}/{key}")
                if value is not None:
                    safe_set_full_optimizer_state(p, value.to(partition.device), key)
