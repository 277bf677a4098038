"""`init_from`: a run's first weights, from another run or from files."""

from pathlib import Path

from gantrain import checkpoint
from gantrain.importing import read_networks
from gantrain.method import Method
from gantrain.paths import check_not_special


def place(method: Method, start: str | list[str]) -> list[str]:
    """Copy what fits by the network's name, the tensor's name and its shape; returns a line for each network.

    start: a run, a checkpoint, or files of networks that `gantrain import` knows. Where the run kept an average of a
    network, that is copied: it is what was evaluated. Raises ValueError where nothing is there, or nothing fits.
    """
    paths = [start] if isinstance(start, str) else start
    path = ", ".join(paths)
    try:
        found = _found(method, paths)
    except ValueError as e:
        raise ValueError(f"init_from: {e}, or init_from=null") from None
    lines, placed = list[str](), 0
    for name, network in method.networks.items():
        own, (origin, there) = network.state_dict(), found.get(name, (path, {}))
        fits = {k: t for k, t in there.items() if k in own and t.shape == own[k].shape}
        network.load_state_dict(fits, strict=False)
        placed += sum(t.ndim > 1 for t in fits.values())  # three last biases are no start
        left = [key for key in own if key not in fits]
        rest = f"; not there, or of another shape: {', '.join(left[:3])}{' ...' * (len(left) > 3)}"
        lines.append(f"{name}: {len(fits)} of {len(own)} tensors from {origin}{rest if left else ''}")
    if not placed:
        raise ValueError(
            f"init_from: no weight in {path} fits, found {', '.join(found)}, allowed: {', '.join(method.networks)} "
            "with tensors of the same names and shapes; choose another run, networks like its own, or init_from=null"
        )
    return lines


def _found(method: Method, paths: list[str]) -> dict[str, tuple[str, checkpoint.Tensors]]:
    """Tensors by network, and where each is from."""
    check_not_special(paths[0], "found")
    if len(paths) > 1 or Path(paths[0]).is_file():
        networks = read_networks([Path(path) for path in paths], both=method.has_back)
        return {name: (str(network.file), network.tensors) for name, network in networks.items()}
    folder = checkpoint.find_checkpoint(paths[0])
    names = sorted(file.stem for file in folder.glob("networks/*.safetensors"))
    kinds = {name: "ema" if (folder / f"ema/{name}.safetensors").is_file() else "networks" for name in names}
    return {name: (paths[0], checkpoint.tensors(folder, f"{kind}/{name}")) for name, kind in kinds.items()}
