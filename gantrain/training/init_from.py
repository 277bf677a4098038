"""`init_from`: a run's first weights, from another run or from files."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.data.scale import Size
from gantrain.importers import assumptions
from gantrain.importers.reading import NetworkFile
from gantrain.importers.recognition import read_networks
from gantrain.methods.base import Method
from gantrain.recipe.data_section import Data
from gantrain.runs import checkpoint
from gantrain.runs.checkpoint_state import State
from gantrain.training.scale_matching import match_by_resolution, picture_size


@dataclass(frozen=True)
class Origin:
    """The tensors of a network in another run or file.

    picture_size: of whole pictures in that run, None if unknown.
    """

    place: str
    tensors: checkpoint.Tensors
    picture_size: Size | None = None


def place(
    method: Method, start: str | list[str], size: Size | None = None, *, is_trial: bool = False
) -> list[str]:
    """Copy the tensors that fit by network, name and shape; return a line for each network.

    start: a run, a checkpoint, or files of networks that `gantrain import` knows. Where the run
    kept an average of a network, that is copied: it is what was evaluated. size: of whole pictures
    in this run; the scales of a network are matched by resolution with it. is_trial: nothing is
    copied, so that a method on the meta device will do. Raises UserError where nothing is there,
    or nothing fits.
    """
    paths = [start] if isinstance(start, str) else start
    path = ", ".join(paths)
    try:
        origins, assumed = _find_origins(method, paths)
    except ValueError as e:
        raise UserError(f"init_from: {e}, or init_from=null") from None
    lines: list[str] = []
    weights_copied = 0  # without biases: three last biases are no start
    for name, network in method.networks.items():
        origin = origins.get(name, Origin(path, {}))
        fitting, line = _match_network(name, network, origin, size)
        if not is_trial:
            network.load_state_dict(fitting, strict=False)
        weights_copied += sum(tensor.ndim > 1 for tensor in fitting.values())
        lines.append(line)
    if not weights_copied:
        raise UserError(
            f"init_from: no weight in {path} fits, found {', '.join(origins)}, allowed:"
            f" {', '.join(method.networks)} with tensors of the same names and shapes; choose"
            " another run, networks like its own, or init_from=null"
        )
    return lines + assumed


def _match_network(
    name: str, network: nn.Module, origin: Origin, size: Size | None
) -> tuple[checkpoint.Tensors, str]:
    """Return the tensors that fit into a network, by their names there, and a line."""
    own = network.state_dict()
    tensors, scales = match_by_resolution(network, size, origin.tensors, origin.picture_size)
    fitting: checkpoint.Tensors = {}
    for key, tensor in tensors.items():
        if key in own and tensor.shape == own[key].shape:
            fitting[key] = tensor
    missing = [key for key in own if key not in fitting]
    line = f"{name}: {len(fitting)} of {len(own)} tensors from {origin.place}"
    if scales:
        line += f"; {scales}"
    if missing:
        line += f"; not there, or of another shape: {', '.join(missing[:3])}"
    if len(missing) > 3:
        line += " ..."
    return fitting, line


def _find_origins(method: Method, paths: list[str]) -> tuple[dict[str, Origin], list[str]]:
    """Return the origin of each network's weights, and sentences on what files leave open."""
    checkpoint.check_link(paths[0], "found")
    check_not_special(paths[0], "found")
    if len(paths) > 1 or Path(paths[0]).is_file():
        return _origins_of_files(method, [Path(path) for path in paths])
    folder = checkpoint.find_checkpoint(paths[0])
    names = sorted(file.stem for file in folder.glob("networks/*.safetensors"))
    state = checkpoint.state(folder)
    size = _picture_size(folder, state)
    origins = {}
    for name in names:
        kind = "ema" if (folder / f"ema/{name}.safetensors").is_file() else "networks"
        origins[name] = Origin(paths[0], checkpoint.tensors(folder, f"{kind}/{name}", state), size)
    return origins, []


def _origins_of_files(method: Method, files: list[Path]) -> tuple[dict[str, Origin], list[str]]:
    """Return what `_find_origins` returns, of networks that `gantrain import` knows.

    A network that the method does not have goes by what it does.
    """
    origins: dict[str, Origin] = {}
    used: dict[str, NetworkFile] = {}
    for role, network in read_networks(files, both=method.has_back).items():
        name = method.network_in_role(role)
        origins[name or str(role)] = Origin(str(network.file), network.tensors)
        if name is not None:
            used[name] = network
    return origins, assumptions.of_start(used)


def _picture_size(folder: Path, state: State) -> Size | None:
    """Return the size of whole pictures in the run of a checkpoint.

    Raises UserError where its recipe states none.
    """
    content: object = checkpoint.saved_recipe(folder)
    try:
        data = check(Data, content["data"] if isinstance(content, dict) else content)
    except (KeyError, ValueError) as e:
        raise checkpoint.refusal(folder, f"recipe.yaml: data: {e}") from None
    return picture_size(data.size, data.resize, state.fields["target"])
