"""Writes the state of a run into a checkpoint, and restores it."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gantrain.core import weight_files
from gantrain.core.component import used_classes
from gantrain.core.extensions import modules_to_record
from gantrain.core.world import World
from gantrain.methods import METHODS
from gantrain.methods.base import Method
from gantrain.methods.image_pool import ImagePool
from gantrain.metrics.registry import larger_is_better
from gantrain.runs import checkpoint, checkpoint_ranking
from gantrain.runs.checkpoint import Tensors
from gantrain.runs.checkpoint_state import Progress, versions
from gantrain.runs.run_folder import Run
from gantrain.training.phase_runner import PhaseRunner
from gantrain.training.setup import RunSetup
from gantrain.training.step import Engine


def _names(engine: Engine) -> dict[nn.Parameter, str]:
    return {p: name for name, p in engine.method.networks.named_parameters()}


def snapshot(engine: Engine, world: World) -> dict[str, Tensors]:
    """Return all tensors by file. Every rank calls it, since each has slots of the pools."""
    method = engine.method
    names = _names(engine)
    files = {f"networks/{n}": network.state_dict() for n, network in method.networks.items()}
    if engine.ema.half_life is not None:
        averaged = engine.ema.refresh()
        files |= {f"ema/{n}": averaged.networks[n].state_dict() for n in method.inference}
    for runner in engine.phases:
        files[f"optimizers/{runner.phase.name}"] = runner.parallel.state(names)
    for name, pool in method.pools.items():
        slots: dict[str, Tensor] = {}
        own_slots = {slot: images.cpu() for slot, images in pool.state_dict().items()}
        for slots_of_rank in world.gather(own_slots):
            slots |= slots_of_rank
        files[f"pools/{name}"] = slots
    return files


@dataclass(frozen=True)
class Mark:
    """The position and the results of a run when it saves.

    metrics: of the held-out set, measured there. rates: the last learning rate of each phase.
    damaged: a text for each damaged sample that this rank knows of. left_marks: an evaluation or
    preview is due that was not made.
    """

    images_seen: int
    metrics: dict[str, float]
    rates: dict[str, float]
    damaged: set[str]
    left_marks: bool


def save(run: Run | None, setup: RunSetup, engine: Engine, mark: Mark) -> str:
    """Write a checkpoint and delete those no longer kept. Every rank calls it, rank 0 writes.

    Returns, on every rank, why that was not possible (a full disk, infinite weights), or nothing.
    """
    tensors = snapshot(engine, setup.world)
    state = _state(setup, mark) | {"progress": _progress(engine, setup.world, mark.damaged)}

    def write() -> str:
        assert run
        place = f"checkpoint: image {mark.images_seen} could not be saved in {run.checkpoints}"
        # A checkpoint of weights that are lost would in the end push out the last good one.
        for name, content in tensors.items():
            nonfinite = weight_files.first_nonfinite(content)
            if nonfinite is not None:
                return f"{place}: {name} has NaN or infinite values in {nonfinite}; {_goes_on(run)}"
        try:
            run.set_status("running", mark.images_seen)
            run.flush_metrics()
            _prune(run, setup)  # fewer than before may be wanted, for want of space
            checkpoint.save(run.checkpoints, setup.recipe.yaml(), tensors, state)
            link_best(run, setup)  # before the checkpoint that it leads to now is deleted
            _prune(run, setup)
        except OSError as e:
            return f"{place} ({e}); make space there, until then {_goes_on(run)}"
        return ""

    return setup.world.broadcast_from_rank0(write)


def _goes_on(run: Run) -> str:
    latest = run.latest()
    return f"the run can go on from {latest.name if latest else 'image 0'}"


def link_best(run: Run, setup: RunSetup) -> None:
    """Renew the run's link to its best checkpoint, by the rule of the stage's recipe."""
    run.link_best(setup.recipe.evaluate.best_by, setup.recipe.checkpoint.best)


def _prune(run: Run, setup: RunSetup) -> None:
    options = setup.recipe.checkpoint
    metric = setup.recipe.evaluate.best_by
    damaged = checkpoint_ranking.prune(
        run.checkpoints,
        keep=options.keep,
        best=options.best,
        metric=metric,
        largest=larger_is_better(metric),
    )
    run.report_damaged(damaged)


def _state(setup: RunSetup, mark: Mark) -> dict[str, object]:
    return {
        "images_seen": mark.images_seen,
        "length": setup.length,
        "rates": mark.rates,
        "fingerprint": setup.data.train.fingerprint,
        "ranks": setup.world.size,
        "micro_batch_size": setup.data.split.micro_batch_size,
        "precision": setup.precision,
        "metrics": mark.metrics,
        "left_marks": mark.left_marks,
        "facts": setup.data.dims,
        "fields": {r: json.loads(f.model_dump_json()) for r, f in setup.data.fields.items()},
        "versions": versions(),
        "modules": modules_to_record(used_classes(METHODS, setup.recipe.method)),
    }


def _progress(engine: Engine, world: World, damaged: set[str]) -> dict[str, object]:
    """Return the progress as JSON holds it. Every rank calls it.

    The device is read here and at log points alone.
    """
    texts = world.gather_texts(damaged)
    return {
        "meters": {
            name: {"total": total, "steps": steps}
            for name, (total, steps) in engine.meters.sums().items()
        },
        "nonfinite_steps": int(engine.nonfinite),
        "nonfinite_in_a_row": int(engine.in_a_row),
        "nonfinite_most": int(engine.worst),
        "damaged": sorted(texts),
    }


def restore(engine: Engine, folder: Path, setup: RunSetup, progress: Progress) -> None:
    """Put a checkpoint's tensors and the sums of its meters into a new engine.

    The number of ranks may have changed. Raises UserError, in one line, where they are not this
    run's.
    """
    method = engine.method
    names = _names(engine)
    state = checkpoint.state(folder)
    for name, network in method.networks.items():
        network.load_state_dict(
            checkpoint.tensors(folder, f"networks/{name}", state, network.state_dict())
        )
    if engine.ema.half_life is not None:
        for name in method.inference:
            network = engine.ema.method.networks[name]
            network.load_state_dict(
                checkpoint.tensors(folder, f"ema/{name}", state, network.state_dict())
            )
    for runner in engine.phases:
        file = f"optimizers/{runner.phase.name}"
        saved = checkpoint.tensors(folder, file, state)
        problem = _optimizer_problem(saved, method, runner)
        if problem:
            raise checkpoint.refusal(
                folder, f"{file}.safetensors is not this phase's optimiser state: {problem}"
            )
        runner.parallel.load_state(saved, names)
    slots = setup.data.split.slots(setup.world.rank)  # the pools of other slots are other ranks'
    for name, pool in method.pools.items():
        saved = checkpoint.tensors(folder, f"pools/{name}", state)
        problem = _pool_problem(saved, pool, setup.recipe.batch_size)
        if problem:
            raise checkpoint.refusal(
                folder, f"pools/{name}.safetensors is not this run's pool: {problem}"
            )
        own = {k: v.to(setup.world.device) for k, v in saved.items() if int(k) in slots}
        pool.load_state_dict(own)
    engine.meters.restore({name: (sum.total, sum.steps) for name, sum in progress.meters.items()})
    engine.restore_nonfinite(
        progress.nonfinite_steps, progress.nonfinite_in_a_row, progress.nonfinite_most
    )


def _optimizer_problem(saved: Tensors, method: Method, runner: PhaseRunner) -> str:
    """Describe what keeps the tensors from being Adam's moments of the phase's parameters.

    A parameter that had no gradient has no moments.
    """
    expected: Tensors = {}
    for network in runner.phase.networks:
        for name, parameter in method.networks[network].named_parameters(network):
            moments = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
            has_moments = any(f"{name}/{key}" in saved for key in moments)
            if parameter.requires_grad and has_moments:
                expected |= {f"{name}/{key}": value for key, value in moments.items()}
    if not saved:
        return "it is empty"
    problem = weight_files.misfit(saved, expected)
    if problem:
        return problem
    for key, value in saved.items():
        if not key.endswith("/exp_avg") and value.min() < 0:
            return f"{key} has values below 0"
    return ""


def _pool_problem(saved: Tensors, pool: ImagePool, batch_size: int) -> str:
    """Describe what keeps the tensors from being the history of each slot of the batch."""
    if not pool.size:
        return "it holds images, and this run has none" if saved else ""
    slots = [str(slot) for slot in range(batch_size)]
    if set(saved) != set(slots):
        return f"it has {len(saved)} slots, expected {batch_size}, numbered from 0"
    first = saved["0"]
    if (
        first.ndim != 4
        or len(first) != pool.share(batch_size)
        or first.dtype not in weight_files.FLOATS
    ):
        expected = f"float images of shape ({pool.share(batch_size)}, channels, height, width)"
        return f"it has {first.dtype} of shape {tuple(first.shape)}, expected {expected}"
    return weight_files.misfit(saved, dict.fromkeys(slots, first))
