"""Loads the model of a checkpoint: its recipe, and its networks with their weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from gantrain.core import files
from gantrain.core.errors import UserError
from gantrain.core.extensions import check_imported, interactive_advice
from gantrain.core.paths import check_not_special
from gantrain.core.wording import option
from gantrain.data.batch import COMMON_ROLES
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field
from gantrain.methods import METHODS
from gantrain.methods.base import Method, set_inference
from gantrain.recipe import costs, schema
from gantrain.recipe.build_method import make_method, sketch_method
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint
from gantrain.runs.checkpoint_state import State


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to translate, with what its checkpoint says of it.

    method: on the device, in its test-time mode, without gradients. sketch: the method on the meta
    device. fields: those of the training data, by role. sha256: the digests of the checkpoint's
    files. images_seen: in training.
    """

    recipe: Recipe
    method: Method
    sketch: Method
    fields: dict[str, Field]
    sha256: dict[str, str]
    images_seen: int

    @property
    def further_fields(self) -> dict[str, Field]:
        """The fields of the inputs beside source and target, by role."""
        return {role: field for role, field in self.fields.items() if role not in COMMON_ROLES}

    def check_reversible(self) -> None:
        """Raise UserError where the model cannot translate from target to source."""
        kind = self.fields["source"].kind
        if not self.method.has_back or KINDS[kind].has_exact_values or self.further_fields:
            name = self.recipe.method["name"]
            allowed = " or ".join(_methods_of_both_directions())
            raise UserError(
                f"{option('back')}: found a {name} model from {kind}s, allowed: one of {allowed}"
                " between images"
            )

    def identity_of_translations(self, back: bool, style: str | None, precision: str) -> str:
        """Return a text that changes with everything on which the translations depend."""
        style_content = ""
        if style is not None and Path(style).is_file():
            style_content = files.sha256(Path(style))
        settings = [self.sha256, self.recipe.dump(), back, style, style_content, precision]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _methods_of_both_directions() -> list[str]:
    """Return the names of the methods that translate back. A table may hold what is no method."""
    names: list[str] = []
    for name, cls in METHODS.items():
        if isinstance(cls, type) and issubclass(cls, Method) and cls.has_back:
            names.append(name)
    return names


def load_model(folder: Path, device: torch.device) -> LoadedModel:
    """Load a checkpoint's model, with the averaged (EMA) weights where the run kept them.

    Raises UserError where the checkpoint is damaged, or does not fit into memory.
    """
    state = checkpoint.state(folder)
    check_not_special(folder / "recipe.yaml", "checkpoint")
    check_imported(state.modules, folder)
    recipe = _read_recipe(folder, state)
    sketch = sketch_method(recipe, state.facts)
    costs.check_memory(costs.count_weights(sketch), device)
    method = make_method(recipe, state.facts)
    kind = "networks" if recipe.ema.half_life is None else "ema"
    for name in method.inference:
        network = method.networks[name]
        tensors = checkpoint.tensors(folder, f"{kind}/{name}", state, network.state_dict())
        network.load_state_dict(tensors)
    method = method.to(device).requires_grad_(False)
    set_inference(method, **recipe.test_time.model_dump())
    return LoadedModel(
        recipe=recipe,
        method=method,
        sketch=sketch,
        fields=state.fields,
        sha256=state.sha256,
        images_seen=state.images_seen,
    )


def _read_recipe(folder: Path, state: State) -> Recipe:
    """Return the recipe of a checkpoint. Raises UserError, whose lines name its file."""
    try:
        return schema.from_dict(checkpoint.saved_recipe(folder))
    except ValueError as error:
        place = f"{folder}/recipe.yaml: "
        lines: list[str] = []
        for line in str(error).splitlines():
            lines.append(line if str(folder) in line else place + line)
        raise UserError("\n".join(lines) + interactive_advice(state.modules)) from None
