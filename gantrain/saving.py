"""What of a run goes into a checkpoint, and back."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from gantrain import checkpoint
from gantrain.assembly import Assembly
from gantrain.checkpoint import Tensors
from gantrain.engine import Engine
from gantrain.metrics import larger_is_better
from gantrain.runs import Run
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
        files[f"optimizers/{turn.phase.name}"] = turn.ranks.state(names)
    for name, pool in method.pools.items():
        slots: dict[str, Tensor] = {}
        for part in world.gather({k: v.cpu() for k, v in pool.state_dict().items()}):
            slots |= part
        files[f"pools/{name}"] = slots
    return files


def save(run: Run | None, parts: Assembly, engine: Engine, images_seen: int, metrics: dict[str, float]) -> str:
    """Write a checkpoint and delete those no longer kept. Every rank calls it, rank 0 writes.

    Returns, on every rank, why that was not possible (a full disk), or nothing.
    """
    tensors = snapshot(engine, parts.world)
    kept, metric = parts.recipe.checkpoint, parts.recipe.evaluate.best_by
    keep = kept.keep, kept.best, metric, larger_is_better(metric)
    state = {
        "images_seen": images_seen,
        "fingerprint": parts.train.fingerprint,
        "ranks": parts.world.size,
        "micro_batch_size": parts.split.micro_batch_size,
        "metrics": metrics,
        "facts": parts.facts,
        "fields": {r: json.loads(f.model_dump_json()) for r, f in parts.fields.items()},
        "versions": {"torch": torch.__version__, "python": sys.version.split()[0]},
    }

    def write() -> str:
        assert run
        try:
            run.set_status("running", images_seen)
            checkpoint.prune(run.checkpoints, *keep)  # fewer than before may be wanted, for want of space
            checkpoint.save(run.checkpoints, parts.recipe.yaml(), tensors, state)
            checkpoint.prune(run.checkpoints, *keep)
        except OSError as e:
            latest = run.latest()
            return (
                f"checkpoint: image {images_seen} could not be saved in {run.checkpoints} ({e}); make "
                f"space there, until then the run can go on from {latest.name if latest else 'image 0'}"
            )
        return ""

    return parts.world.on_main(write)


def restore(engine: Engine, folder: Path, parts: Assembly) -> None:
    """Put a checkpoint's tensors into a new engine, on any number of ranks."""
    method, names = engine.method, _names(engine)
    for name, network in method.networks.items():
        network.load_state_dict(checkpoint.tensors(folder, f"networks/{name}"))
    if engine.ema.half_life is not None:
        for name in method.inference:
            averaged = checkpoint.tensors(folder, f"ema/{name}")
            engine.ema.method.networks[name].load_state_dict(averaged)
    for turn in engine.turns:
        saved = checkpoint.tensors(folder, f"optimizers/{turn.phase.name}")
        turn.ranks.load_state(saved, names)
    slots = parts.split.slots(parts.world.rank)  # the pools of other slots are other ranks'
    for name, pool in method.pools.items():
        saved = checkpoint.tensors(folder, f"pools/{name}")
        own = {k: v.to(parts.world.device) for k, v in saved.items() if int(k) in slots}
        pool.load_state_dict(own)
