"""`gantrain evaluate RUN`: a trained model on test sets."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gantrain.core.world import World
from gantrain.data.batch import as_batch
from gantrain.data.scale import describe_held_out, held_out_notice
from gantrain.evaluation.evaluate_results import Results
from gantrain.evaluation.evaluation_inputs import Opened, open_checkpoint
from gantrain.evaluation.held_out import HeldOut
from gantrain.recipe.data_request import data_request


def evaluate_checkpoint(
    world: World,
    path: Path,
    data: Mapping[str, str | None],
    options: Mapping[str, object],
    *,
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> tuple[Results, dict[str, object]]:
    """Return a model's metrics on each of the test sets, and how it was run.

    Every rank calls it. Takes the arguments of `open_checkpoint`. Raises UserError.
    """
    opened = open_checkpoint(world, path, data, options, targets=targets, best=best)
    return measure(world, opened)


def measure(world: World, opened: Opened) -> tuple[Results, dict[str, object]]:
    """Return a model's metrics on each of its opened test sets, and how it was run.

    Every rank calls it.
    """
    recipe = opened.recipe
    model = opened.model
    names = data_request(recipe).sample_names

    def batch(raw: dict[str, Tensor]) -> dict[str, Tensor]:
        of_roles = {role: raw[name] for role, name in names.items()}
        return as_batch(of_roles, model.fields, torch.float32, world.device)

    notice = held_out_notice(recipe.data.size, recipe.data.resize)
    if notice is not None:
        world.say(notice)
    results: Results = {}
    for name, shards in opened.sets.items():
        if opened.training and shards.fingerprint == opened.training.fingerprint:
            world.say(
                f"{name}: these are the images of the training set, so the values say nothing of"
                " new images, and the null values compare one half of the set with the other"
            )
        held_out = HeldOut(
            recipe,
            world,
            shards,
            fields=model.fields,
            batch=batch,
            training=opened.training,
            diagnose=False,
        )
        results[name] = held_out.metrics(model.method)
        for text in sorted(world.gather_texts(held_out.damaged)):
            world.say(f"left out: {text}")
    about = {
        "checkpoint": str(opened.folder),
        "ema": recipe.ema.half_life is not None,
        "test_time": recipe.test_time.model_dump(),
        "size": recipe.data.size,
        "resized": recipe.data.resize,
        "crop_border": recipe.evaluate.crop_border,
        "scale": describe_held_out(recipe.data.size, recipe.data.resize),
        "content": opened.contents,
    }
    return results, about
