"""`init_from`: a run's first weights, from another run or from a file."""

from gantrain import checkpoint
from gantrain.importing import opened
from gantrain.method import Method


def place(method: Method, path: str) -> list[str]:
    """Copy what fits by the network's name, the tensor's name and its shape; returns a line for each network.

    path: a run, a checkpoint, or a generator's file that `gantrain import` knows. Where the run kept an average of a
    network, that is copied: it is what was evaluated. Raises ValueError where nothing is there, or nothing fits.
    """
    lines, placed = list[str](), 0
    try:
        with opened(path) as folder:
            found = sorted(file.stem for file in folder.glob("networks/*.safetensors"))
            for name, network in method.networks.items():
                kind = "ema" if (folder / f"ema/{name}.safetensors").is_file() else "networks"
                own, there = network.state_dict(), checkpoint.tensors(folder, f"{kind}/{name}") if name in found else {}
                fits = {k: t for k, t in there.items() if k in own and t.shape == own[k].shape}
                network.load_state_dict(fits, strict=False)
                placed += sum(t.ndim > 1 for t in fits.values())  # three last biases are no start
                left = [key for key in own if key not in fits]
                rest = f"; not there, or of another shape: {', '.join(left[:3])}{' ...' * (len(left) > 3)}"
                lines.append(f"{name}: {len(fits)} of {len(own)} tensors from {path}{rest if left else ''}")
    except ValueError as e:
        raise ValueError(f"init_from: {e}, or init_from=null") from None
    if not placed:
        raise ValueError(
            f"init_from: no weight in {path} fits, found {', '.join(found)}, allowed: {', '.join(method.networks)} "
            "with tensors of the same names and shapes; choose another run, networks like its own, or init_from=null"
        )
    return lines
