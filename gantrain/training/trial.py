"""A trial of a user's own method, networks and losses, before a run's folder is made."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.core.component import BadComponent
from gantrain.core.own_code import describe_error, is_own
from gantrain.core.rng import seed_all
from gantrain.methods.base import Batch, Context, Method, Phase, Terms, frozen, set_inference
from gantrain.methods.style_check import check_style
from gantrain.methods.terms_check import check_forward, check_names, check_terms, describe_value
from gantrain.metrics import registry
from gantrain.recipe.build_method import naming_own_code, own_classes
from gantrain.training.setup import RunSetup

# Names in gantrain.metrics.metric_suite beside those of metrics.
_NAMES_OF_SUMS = ("fake", "target", "source", "samples", "pixels", "distance")
_MOST_IMAGES = 2  # enough for batch norm, and to distinguish the batch's dimension


def try_method(setup: RunSetup) -> None:
    """Compute each phase's gradients and a translation once, on a batch of zeros.

    The networks are thrown away. It does this only where the recipe uses a class from outside
    gantrain. Every rank calls it. Raises UserError, with one line for each problem.
    """
    if not own_classes(setup.recipe):
        return
    try:
        with naming_own_code(setup.recipe, "a first step"):
            _try(setup)
    except torch.OutOfMemoryError:  # the run finds out by itself, and says what would take less
        return


def _try(setup: RunSetup) -> None:
    method = setup.method()
    size = min(_MOST_IMAGES, setup.data.split.micro_batch_size)
    batch = setup.batch(setup.data.zeros(size))
    seed_all(setup.recipe.seed)
    copied = _copied(method)
    _try_translation(copied, batch, setup.data.dims["target_channels"], setup)
    context = Context(
        setup.recipe.seed, 0, setup.recipe.batch_size, tuple(range(size)), stage_start=0
    )
    method.train()
    with torch.autocast(setup.world.device.type, torch.bfloat16, enabled=setup.precision == "bf16"):
        terms = _try_phases(method, batch, context)
        _try_forwards(method, batch, context)
    weights = method.loss_weights if is_own(type(method)) else ()
    check_names(terms, list(weights), type(method).__name__)
    _check_states(method)


def _copied(method: Method) -> Method:
    """Return a copy, as EMA makes one. Raises BadComponent where that is not possible."""
    try:
        return copy.deepcopy(method)
    except Exception as error:
        name = type(method).__name__
        raise BadComponent(
            f"method: {name} can't be copied ({describe_error(error)}), allowed: attributes that"
            " copy.deepcopy takes"
        ) from None


@torch.no_grad()
def _try_translation(method: Method, batch: Batch, channels: int, setup: RunSetup) -> None:
    name = type(method).__name__
    set_inference(method, **setup.recipe.test_time.model_dump())
    source = batch["source"]
    fake = method.translate({"source": source})
    _check_images(fake, f"{name}.translate", (len(source), channels))
    if method.has_back:
        target = batch["target"]
        back = method.translate_back({"source": target})
        _check_images(back, f"{name}.translate_back", (len(target), source.shape[1]))
    own_sizes = is_own(type(method)) or setup.recipe.data.unpaired  # its losses decide
    if not own_sizes and fake.shape[2:] != batch["target"].shape[2:]:
        sizes = f"{tuple(fake.shape[2:])} of images of {tuple(source.shape[2:])}"
        raise BadComponent(
            f"method: {name}.translate makes {sizes}, allowed: the size of the target"
        )
    if method.has_style:
        _try_styles(method, batch)
    _check_scalars(f"{name}.diagnose", method.diagnose(batch))
    _check_scalars(f"{name}.measure", method.measure({**batch, "fake": fake}))


def _check_images(value: object, function: str, images_and_channels: tuple[int, int]) -> None:
    """Raise BadComponent unless a value is a float tensor NCHW of that many images and channels.

    function: which gave the value, for the message.
    """
    if (
        isinstance(value, Tensor)
        and value.ndim == 4
        and value.shape[:2] == images_and_channels
        and value.is_floating_point()
    ):
        return
    result = f"an object of {type(value).__name__}"
    if isinstance(value, Tensor):
        result = describe_value(value)
    images, channels = images_and_channels
    raise BadComponent(
        f"method: {function} gives {result}, allowed: float images of shape ({images}, {channels},"
        " height, width); correct it or the generator"
    )


def _check_scalars(place: str, values: Any) -> None:
    """Raise BadComponent for what is no dictionary of numbers, and for names that are taken."""
    is_fine = isinstance(values, dict) and all(
        isinstance(v, Tensor) and v.numel() == 1 for v in values.values()
    )
    if not is_fine:
        raise BadComponent(
            f"method: {place} gives {_described_values(values)}, allowed: a dictionary of tensors"
            " of one number"
        )
    for name in values:
        if not isinstance(name, str) or _is_taken(name):
            raise BadComponent(
                f"method: {place} gives a value named {name!r}, which is a name of gantrain's own;"
                " choose another name"
            )


def _described_values(values: object) -> str:
    """Describe a dictionary by what is in it, and any other value as it is, in one line."""
    if not isinstance(values, dict):
        return describe_value(values)
    described = [f"{name!r}: {describe_value(value)}" for name, value in values.items()]
    return f"{{{', '.join(described)}}}"


def _is_taken(name: str) -> bool:
    """Return whether a name would replace one of gantrain's metrics, or the sums behind them."""
    if name in registry.MEASURED:  # which a method itself measures
        return False
    if name in _NAMES_OF_SUMS or name.endswith("_null"):
        return True
    try:
        registry.check(name)
    except ValueError:
        return False
    return True


def _try_styles(method: Method, batch: Batch) -> None:
    """Translate with a style of a seed, and with a style of an image."""
    source = batch["source"]
    for given in (0, batch["target"][:1]):
        style = check_style(method, given)
        method.translate({"source": source, "style": style.to(source)})


def _check_states(method: Method) -> None:
    """Raise BadComponent for a state that a checkpoint cannot hold, since it is no tensor."""
    for name, network in method.networks.items():
        for key, value in network.state_dict().items():
            if not isinstance(value, Tensor):
                raise BadComponent(
                    f"method: found {key}, an object of {type(value).__name__}, in the state_dict"
                    f" of {name}, allowed: tensors, as parameters and buffers"
                )


def _try_phases(method: Method, batch: Batch, context: Context) -> dict[str, Terms]:
    """Return the terms of each phase, as in a step in which every phase makes its own forward."""
    carried: Batch | None = None
    terms: dict[str, Terms] = {}
    for phase in method.phases:
        of_phase = _try_phase(method, phase, batch, carried=carried, context=context)
        carried = {**(carried or {}), **of_phase.carried}
        terms[phase.name] = of_phase
    return terms


def _try_forwards(method: Method, batch: Batch, context: Context) -> None:
    """Try each phase whose `forward` the trainer may call before the phase's turn."""
    for phase in method.phases[1:]:
        if phase.forward is not None:
            made = phase.forward(batch, context)
            check_forward(made, phase.name, type(method).__name__)
            _try_phase(method, phase, batch, carried=made, context=context)


def _try_phase(
    method: Method, phase: Phase, batch: Batch, carried: Batch | None, context: Context
) -> Terms:
    """Return the terms of a phase, after its gradients were computed and thrown away."""
    trained = [method.networks[name] for name in phase.networks]
    others = [network for name, network in method.networks.items() if name not in phase.networks]
    with frozen([*others, *method.auxiliary.values()]):
        terms = phase.terms(batch, carried, context)
        check_terms(terms, phase.name, type(method).__name__)
        total: Tensor = sum(terms.losses.values(), torch.zeros((), device=batch["source"].device))
        torch.autograd.backward(total)
    if not _has_gradient(trained):
        names = ", ".join(phase.networks)
        raise BadComponent(
            f"method: {type(method).__name__}, phase {phase.name!r}: no parameter of {names} gets a"
            " gradient, allowed: losses that depend on them; is the forward in no_grad()?"
        )
    method.zero_grad()
    return terms


def _has_gradient(networks: Sequence[nn.Module]) -> bool:
    parameters = itertools.chain.from_iterable(network.parameters() for network in networks)
    return any(parameter.grad is not None for parameter in parameters)
