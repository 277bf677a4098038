"""What of an engine goes into a checkpoint, and back."""

from pathlib import Path

from torch import Tensor, nn

from gantrain import checkpoint
from gantrain.checkpoint import Tensors
from gantrain.engine import Engine
from gantrain.world import World


def _names(engine: Engine) -> dict[nn.Parameter, str]:
    return {p: name for name, p in engine.method.networks.named_parameters()}


def snapshot(engine: Engine, world: World) -> dict[str, Tensors]:
    """All tensors by file. Every rank calls it: the pools' slots are spread over the ranks."""
    method, names = engine.method, _names(engine)
    files = {f"networks/{n}": network.state_dict() for n, network in method.networks.items()}
    if engine.ema.half_life is not None:
        averaged = engine.ema.refresh()
        files |= {f"ema/{n}": averaged.networks[n].state_dict() for n in method.inference}
    for turn in engine.turns:
        files[f"optimizers/{turn.phase.name}"] = checkpoint.optimizer_tensors(turn.optimizer, names)
    for name, pool in method.pools.items():
        slots: dict[str, Tensor] = {}
        for part in world.gather({k: v.cpu() for k, v in pool.state_dict().items()}):
            slots |= part
        files[f"pools/{name}"] = slots
    return files


def restore(engine: Engine, folder: Path, world: World, slots: range) -> None:
    """Put a checkpoint's tensors into a new engine, on any number of ranks.

    slots: of the batch, this rank's; pools of other slots are other ranks' to keep.
    """
    method, names = engine.method, _names(engine)
    for name, network in method.networks.items():
        network.load_state_dict(checkpoint.tensors(folder, f"networks/{name}"))
    if engine.ema.half_life is not None:
        for name in method.inference:
            averaged = checkpoint.tensors(folder, f"ema/{name}")
            engine.ema.method.networks[name].load_state_dict(averaged)
    for turn in engine.turns:
        saved = checkpoint.tensors(folder, f"optimizers/{turn.phase.name}")
        checkpoint.restore_optimizer(turn.optimizer, names, saved)
    for name, pool in method.pools.items():
        saved = checkpoint.tensors(folder, f"pools/{name}")
        own = {k: v.to(world.device) for k, v in saved.items() if int(k) in slots}
        pool.load_state_dict(own)
