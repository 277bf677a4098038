"""Builds the method of a recipe, and checks it."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from gantrain.core.component import MAX_CHANNELS, BadComponent, build, facts_of, used_classes
from gantrain.core.errors import UserError
from gantrain.core.own_code import describe_error, is_own
from gantrain.losses.feature_losses import Perceptual, SupervisedPatchNCE
from gantrain.methods import METHODS
from gantrain.methods.base import Method, Phase, starts_with
from gantrain.methods.constructor_check import describe_early_use
from gantrain.methods.contract import check_contract
from gantrain.networks import NETWORKS
from gantrain.networks.blocks import mixes_samples
from gantrain.networks.gradient_checkpointing import recompute
from gantrain.networks.protocol import Pretrained, capabilities_of
from gantrain.recipe.loss_checks import loss_problems
from gantrain.recipe.schema import Recipe


def own_classes(recipe: Recipe) -> list[type]:
    """Return the classes from outside gantrain that the recipe names."""
    return [cls for cls in used_classes(METHODS, recipe.method) if is_own(cls)]


@contextmanager
def naming_own_code(recipe: Recipe, doing: str) -> Iterator[None]:
    """Turn an error of own code into one line.

    The line names the code's classes, the exception, its file and its line. doing: what was tried,
    such as "a first step".
    """
    try:
        yield
    except (BadComponent, torch.OutOfMemoryError):
        raise
    except Exception as error:
        own = own_classes(recipe)
        if not own or isinstance(error, UserError):
            raise
        early_use = describe_early_use(error)
        if early_use:
            raise BadComponent(early_use) from None
        names = ", ".join(dict.fromkeys(cls.__name__ for cls in own))
        raise BadComponent(f"method: {doing} with {names} raised {describe_error(error)}") from None


def make_method(recipe: Recipe, data_dims: dict[str, int]) -> Method:
    """Build the method, and freeze what `freeze` names.

    Raises UserError where the recipe contradicts the data.
    """
    with naming_own_code(recipe, "building it"):
        return _make_method(recipe, data_dims)


def _make_method(recipe: Recipe, data_dims: dict[str, int]) -> Method:
    torch.manual_seed(recipe.seed)
    name = recipe.method["name"]
    unknown = [fact for fact in facts_of(METHODS[name]) if fact not in data_dims]
    if unknown:
        raise BadComponent(
            f"method: found {', '.join(unknown)} as parameters of {METHODS[name].__name__},"
            f" allowed: {', '.join(data_dims)}, and others behind a `*`"
        )
    method: Method = build(METHODS, recipe.method, **data_dims)
    check_contract(method)
    for name, parameter in method.networks.named_parameters():
        if any(starts_with(name, prefix) for prefix in recipe.freeze):
            parameter.requires_grad_(False)
    if recipe.gradient_checkpointing:
        # The losses keep the discriminators' features in any case.
        for name in method.inference:
            recompute(method.networks[name])
    return method


def sketch_method(recipe: Recipe, data_dims: dict[str, int]) -> Method:
    """Build the method without storage, on the meta device, to be counted and checked.

    Raises UserError as make_method, and for facts past reason, which a checkpoint from elsewhere
    may state.
    """
    for name, value in data_dims.items():
        if type(value) is not int or not 1 <= value <= MAX_CHANNELS:
            raise UserError(
                f"{name}: found {value!r:.100}, allowed: a whole number, 1 to {MAX_CHANNELS:,}"
            )
    with naming_own_code(recipe, "building it"):
        try:
            with torch.device("meta"):
                return _make_method(recipe, data_dims)
        except (NotImplementedError, RuntimeError):
            # A network from outside may read what it has drawn.
            return _make_method(recipe, data_dims)


def load_pretrained(method: Method, started: bool = False) -> None:
    """Load the weights with which parts of the method begin, from files or the network.

    Networks have them only where no run has started. Raises UserError where they can't be had.
    """
    for part in _pretrained_parts(method, started):
        _load(part)


def try_pretrained(
    recipe: Recipe, data_dims: dict[str, int], sketch: Method, started: bool = False
) -> None:
    """Read or fetch the weights that `load_pretrained` loads, into networks that are thrown away.

    sketch: the method of the recipe and the data, without storage. No weight is drawn, except where
    a class from outside gantrain loads weights: its `load` may expect what its constructor drew.
    Raises UserError where the weights cannot be had.
    """
    parts = _pretrained_parts(sketch, started)
    if any(is_own(_class_with_weights(part)) for part in parts):
        load_pretrained(make_method(recipe, data_dims), started)
        return
    for part in parts:
        _load(copy.deepcopy(part).to_empty(device="cpu"))


def _pretrained_parts(method: Method, started: bool) -> list[nn.Module]:
    """Return the parts that begin with weights that were trained before."""
    networks = [] if started else list(method.networks.values())
    parts = [*networks, *method.auxiliary.values()]
    return [part for part in parts if isinstance(part, Pretrained)]


def _load(part: nn.Module) -> None:
    assert isinstance(part, Pretrained)
    try:
        part.load()
    except Exception as error:
        cls = _class_with_weights(part)
        if not is_own(cls) or isinstance(error, UserError):
            raise
        raise BadComponent(f"method: {cls.__name__}.load raised {describe_error(error)}") from None


def _class_with_weights(part: nn.Module) -> type:
    """Return the class of a part, or of the network inside a loss, which may be a user's own."""
    if isinstance(part, Perceptual | SupervisedPatchNCE):
        return type(part.network)
    return type(part)


def _describe_nothing_to_train(recipe: Recipe, phase: Phase) -> str:
    networks = ", ".join(phase.networks)
    if not recipe.freeze:
        return (
            f"method: found a phase {phase.name!r} all of whose parameters have"
            f" requires_grad=False, allowed: something to train in {networks}"
        )
    frozen = ", ".join(recipe.freeze)
    return (
        f"freeze: found {frozen}, which leaves the phase {phase.name} nothing to train; allowed: a"
        f" part of {networks}"
    )


def check_method(recipe: Recipe, method: Method) -> None:
    """Raise UserError, one line for each setting of a recipe that its method cannot follow."""
    problems = [
        *_phase_problems(recipe, method),
        *_unpaired_problems(recipe, method),
        *_name_problems(recipe, method),
        *_training_problems(recipe, method),
        *_checkpointing_problems(recipe, method),
        *_size_problems(recipe, method),
        *loss_problems(recipe, method),
    ]
    if problems:
        raise UserError("\n".join(problems))


def _phase_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Yield a line on each phase that the method does not have."""
    phases = [phase.name for phase in method.phases]
    for name in recipe.phases:
        if name not in phases:
            yield f"phases.{name}: found {name!r}, allowed: {', '.join(phases)}"


def _unpaired_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    if recipe.data.unpaired and method.paired:
        yield (
            f"data.unpaired: found true, {recipe.method['name']} learns from pairs; choose another"
            " method"
        )


def _name_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Yield a line on each name of parameters that no parameter has, or only frozen ones."""
    names: list[str] = []
    trained: list[str] = []
    for name, parameter in method.networks.named_parameters():
        names.append(name)
        if parameter.requires_grad:
            trained.append(name)
    for prefix in recipe.freeze:
        if not _any_starts_with(names, prefix):
            yield f"freeze: {_describe_unknown(names, prefix, method)}"
    for prefix in recipe.optimizer.lr_factors:
        if not _any_starts_with(names, prefix):
            yield f"optimizer.lr_factors: {_describe_unknown(names, prefix, method)}"
        elif not _any_starts_with(trained, prefix):
            yield (
                f"optimizer.lr_factors: found {prefix!r}, which stays as it is; allowed: what is"
                " trained"
            )


def _any_starts_with(names: Sequence[str], prefix: str) -> bool:
    return any(starts_with(name, prefix) for name in names)


def _describe_unknown(names: Sequence[str], prefix: str, method: Method) -> str:
    """Describe a name that no parameter has, with the parts of the network that it begins with."""
    network = prefix.split(".")[0]
    parts = [".".join(name.split(".")[:2]) for name in names if starts_with(name, network)]
    allowed = dict.fromkeys(parts) or method.networks
    return f"found {prefix!r}, allowed: {', '.join(allowed)}, or more, up to a dot"


def _training_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Yield a line on each phase that has no parameter to train."""
    for phase in method.phases:
        networks = [method.networks[name] for name in phase.networks]
        if not any(p.requires_grad for network in networks for p in network.parameters()):
            yield _describe_nothing_to_train(recipe, phase)


def _checkpointing_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    if not recipe.gradient_checkpointing:
        return
    for name in method.inference:
        if mixes_samples(method.networks[name]):
            yield (
                f"gradient_checkpointing: found true, the {name}'s batch norm would count each"
                " batch twice; allowed with norm: instance, group or none"
            )


def _size_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Yield a line on each network that needs larger images."""
    size = recipe.data.size
    for name, network in method.networks.items():
        smallest = capabilities_of(network).minimum_size
        if min(size) < smallest:
            yield (
                f"data.size: found {list(size)}, the {name} needs [{smallest}, {smallest}] or more;"
                " raise data.size, or choose another one or fewer of its"
                f" layers{_fewer_layers(recipe, method, name)}"
            )


def _fewer_layers(recipe: Recipe, method: Method, name: str) -> str:
    """Return the end of an advice: the most layers of a network that fit `data.size`.

    The text is empty where no number of layers fits.
    """
    key = method.role_of(name).kind
    component = recipe.method.get(key)
    if not isinstance(component, dict) or "layers" not in component:
        return ""
    for layers in range(component["layers"] - 1, 0, -1):
        with torch.device("meta"):
            fewer = {**component, "layers": layers}
            network = build(NETWORKS, fewer, in_channels=3, out_channels=3, image_channels=3)
        if capabilities_of(network).minimum_size <= min(recipe.data.size):
            return f", as in method.{key}.layers={layers}"
    return ""
