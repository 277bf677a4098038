"""The table of degradations."""

from collections.abc import Sequence

from gantrain.core.component import Component, build
from gantrain.core.own_code import naming_failure
from gantrain.data.degradations.bicubic import Bicubic
from gantrain.data.degradations.composition import Composition
from gantrain.data.degradations.degradation import Degradation
from gantrain.data.degradations.grey import Grey
from gantrain.data.degradations.holes import Holes
from gantrain.data.degradations.jpeg import Jpeg
from gantrain.data.degradations.noise import Noise
from gantrain.data.degradations.real_world import RealWorld

DEGRADATIONS: dict[str, type[Degradation]] = {
    "bicubic": Bicubic,
    "real_world": RealWorld,
    "noise": Noise,
    "jpeg": Jpeg,
    "grey": Grey,
    "mask": Holes,
}


def build_degradation(config: Component | Sequence[Component]) -> Composition:
    """Return the degradation that a recipe names, or the composition of those of a list.

    A degradation gives the same alone and in a list of one. Raises UserError for a list in which
    one that makes holes is not the last one.
    """
    components = [config] if isinstance(config, str | dict) else config
    return Composition([_build(component) for component in components])


def _build(component: Component) -> Degradation:
    name = component if isinstance(component, str) else component["name"]
    with naming_failure(DEGRADATIONS[name], "__init__"):
        degradation: Degradation = build(DEGRADATIONS, component)
    return degradation
