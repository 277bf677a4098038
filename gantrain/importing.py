"""`gantrain import`: another project's networks as a checkpoint of ours."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantrain import checkpoint, recipe, weights
from gantrain.checkpoint_state import versions
from gantrain.component import build
from gantrain.data.scale import UNKNOWN, text_of
from gantrain.data.shards import Field
from gantrain.importers import RECOGNISERS
from gantrain.importers.layout import Found
from gantrain.methods import METHODS
from gantrain.methods.cut import LAYERS
from gantrain.networks import NETWORKS
from gantrain.networks.projection import Projection
from gantrain.networks.spade import StyleEncoder
from gantrain.paths import check_not_special

_KNOWN = {**NETWORKS, "style_encoder": StyleEncoder, "projection": Projection}
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_SPECTRAL = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}  # PyTorch's names, and ours
_ORIGINAL = {ours: theirs for theirs, ours in _SPECTRAL.items()}
_PREFIX = r"(module\.|_orig_mod\.)*"
_ADVICE = "give a network's file, such as latest_net_G.pth"
# CycleGAN's networks of the way back, by those of the way there that they are like.
_BACK = {"generator": "generator_back", "discriminator": "discriminator_source"}
_NORMS = {"batch": ["batch"], "instance": ["instance", "none"], "none": ["none", "instance"]}  # that keys leave open
_CENTRE = (256, 256)  # what `evaluate` measures where nothing is known of sizes
# Of unpaired data; metrics of pairs are the default.
_OF_SETS = {"metrics": ["fd_random0", "swd"], "best_by": "fd_random0"}


@dataclass(frozen=True)
class Network:
    """What a file holds, with its tensors by our names."""

    file: Path
    found: Found
    tensors: dict[str, Tensor]

    def __str__(self) -> str:
        options = {**self.found.component, **self.found.facts}
        name = options.pop("name")
        return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"


def import_files(
    files: Sequence[Path],
    out: Path,
    *,
    norm: str | None = None,
    dropout: bool = False,
    unpaired: bool = False,
    labels: bool = False,
    instances: bool = False,
    doublings: str | None = None,
    resize: tuple[int, int] | None = None,
) -> list[str]:
    """Write the checkpoint `out` of a generator that is known to RECOGNISERS and of what was trained with it.

    norm: where the files' keys could mean several. dropout: stays on in use, and batch norm takes the image's own
    statistics, as in pix2pix's own test. unpaired: it was trained on two sets. labels: its source is a map of class
    ids, as SPADE's always is. instances: its last channel are the edges of instances. doublings: `normal` or `more`,
    of a SPADE generator. resize: height and width to which `evaluate` and `translate` resize images, as the other
    project did; None: nothing is resized, and `evaluate` takes the centre 256x256. Returns what was found, in words.
    Raises ValueError, in one line.
    """
    if out.exists():
        raise ValueError(f"--out: {out} exists; choose another folder")
    networks = read_networks(files, norm=norm, doublings=doublings)
    method = _method(networks)
    made = networks["generator"]
    before, after = (made.found.facts[f"{side}_channels"] for side in ("in", "out"))
    labels, unpaired = labels or method["name"] == "spade", unpaired or method["name"] in ("cut", "cyclegan")
    if instances and before == 1:
        raise ValueError(f"--instances: found one channel in {made.file}, allowed: two or more, the last for the edges")
    seen = before - instances
    label = {"kind": "label", "channels": 1, "classes": seen}
    sides = {"source": label if labels else {"channels": seen}, "target": {"channels": after}}
    if instances:
        sides["instances"] = {"kind": "instances", "channels": 1, "dtype": "uint16"}
    fields = {role: Field(member=role, min_size=UNKNOWN, max_size=UNKNOWN, **side) for role, side in sides.items()}
    content: dict[str, Any] = {
        "name": made.file.stem.lstrip(". ") or "imported",
        "description": f"Imported from {', '.join(file.name for file in files)}",
        "method": method,
        "data": {"unpaired": unpaired, "size": resize or _CENTRE, "resize": resize},
        "test_time": {"dropout": dropout, "batch_statistics": dropout},
    }
    content["data"] |= {"labels": {"image" if unpaired else "left": seen}} if labels else {}
    content["data"] |= {"instances": "instance"} if instances else {}
    content |= {"evaluate": _OF_SETS} if unpaired else {}
    about: dict[str, Any] = {"images_seen": 0, "fingerprint": "", "ranks": 1, "micro_batch_size": 1, "metrics": {}}
    about |= {
        "facts": {"source_channels": before, "target_channels": after},
        "fields": {role: field.model_dump(mode="json") for role, field in fields.items()},
        "versions": versions(),
    }
    whole = recipe.from_dict(content)
    _check_fit(networks, whole.method, about["facts"])
    try:
        tensors = {f"networks/{name}": network.tensors for name, network in networks.items()}
        checkpoint.save(out.parent, whole.yaml(), tensors, about, out.name)
    except OSError as e:
        raise ValueError(f"--out: cannot write {out} ({e}); choose another folder") from None
    return [
        *(f"{name}: {network}" for name, network in networks.items()),
        _about_sizes(resize),
        f"a {method['name']} model: {out}",
    ]


def _about_sizes(resize: tuple[int, int] | None) -> str:
    if resize is not None:
        return f"sizes: evaluate and translate resize images to {text_of(resize)}"
    rule = f"translate leaves images at their size, and evaluate measures their centre {text_of(_CENTRE)}"
    return f"sizes: {rule}; --resize HEIGHTxWIDTH resizes them as the other project did"


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """A checkpoint's folder: a run's latest, that one itself, or what a file imports to. Raises ValueError."""
    check_not_special(path, "checkpoint")
    if not Path(path).is_file():
        yield checkpoint.find_checkpoint(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        import_files([Path(path)], imported := Path(folder, "imported"))
        yield imported


def read_networks(
    files: Sequence[Path], *, norm: str | None = None, doublings: str | None = None, both: bool = False
) -> dict[str, Network]:
    """The files' networks by their names in our methods; where two are alike, the files' usual names tell.

    both: a network of CycleGAN's way back is that even where none of the way there is given; else it stands alone.
    norm, doublings: as in import_files. Raises ValueError, in one line.
    """
    networks: dict[str, Network] = {}
    for file in files:
        network = _read(file, norm, doublings)
        role = network.found.role
        name = _BACK.get(role, role) if re.search("net_[GD]_B$", file.stem) else role
        if name in networks:
            raise ValueError(
                f"import: {networks[name].file} and {file} are both a {name}, allowed: one of each network; "
                "CycleGAN's are told apart by their files' names, such as latest_net_G_A.pth and latest_net_G_B.pth"
            )
        networks[name] = network
    alone = not both and not any(name in networks for name in _BACK)
    return {network.found.role if alone else name: network for name, network in networks.items()}


def _method(networks: dict[str, Network]) -> dict[str, Any]:
    """The method, as a component, that has these networks. Raises ValueError where there is no generator."""
    if "generator" not in networks:
        files = ", ".join(str(network.file) for network in networks.values())
        raise ValueError(
            f"import: found {', '.join(networks)} in {files}, but no generator; give its file too, as in "
            "gantrain import latest_net_G.pth latest_net_D.pth --out FOLDER"
        )
    component, facts = networks["generator"].found.component, networks["generator"].found.facts
    alike = facts["in_channels"] == facts["out_channels"]
    judged = networks["discriminator"].found.facts["in_channels"] if "discriminator" in networks else None
    method: dict[str, Any] = {"name": "pix2pix"}
    if component["name"] == "spade":
        method = {"name": "spade", "style": "vae" if "style_channels" in facts else "none"}
    elif any(name in networks for name in _BACK.values()):
        method = {"name": "cyclegan"} | ({} if alike else {"identity": 0.0})
    elif component["name"] == "resnet" and alike and ("projection" in networks or judged == facts["out_channels"]):
        # CUT's, or one way of CycleGAN: the discriminator doesn't see the source.
        method = {"name": "cut", "layers": [name for name in LAYERS if name != "block4" or component["blocks"] > 4]}
        if projection := networks.get("projection"):
            method["projection_width"] = projection.found.component["width"]
    for role, back in _BACK.items():
        if given := networks.get(role) or networks.get(back):
            method[role] = given.found.component
    return method


def _check_fit(networks: dict[str, Network], method: dict[str, Any], facts: dict[str, int]) -> None:
    """Raises ValueError unless the networks are that method's, and all that translating needs."""
    with torch.device("meta"):
        whole = build(METHODS, method, **facts)
    made = networks["generator"]
    for name, network in networks.items():
        expected = whole.networks[name].state_dict() if name in whole.networks else {}
        alike = networks.get(network.found.role, network).found.component
        found, wanted = ({k: t.shape for k, t in tensors.items()} for tensors in (network.tensors, expected))
        if network.found.component != alike or found != wanted:
            raise ValueError(
                f"import: {network.file}, a {network}, doesn't fit {made.file}, a {made}; give files of one model"
            )
    if missing := [name for name in whole.inference if name not in networks]:
        usual = {"encoder": "latest_net_E.pth", "generator_back": "latest_net_G_B.pth"}[missing[0]]
        raise ValueError(f"import: beside {made.file} there is no {missing[0]}; give its file too, such as {usual}")


def _cleaned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without wrappers' prefixes, and without what old instance norms tracked but didn't use."""

    def named(key: str) -> str:
        module, dot, kind = re.sub(f"^{_PREFIX}", "", key).rpartition(".")
        return module + dot + _SPECTRAL.get(kind, kind)

    state = {named(key): tensor for key, tensor in state.items()}

    def is_old(key: str) -> bool:
        module, _, kind = key.rpartition(".")
        if module.endswith("param_free_norm"):  # SPADE's batch norms have statistics alone
            return False
        return kind in _RUNNING and f"{module}.weight" not in state

    return {key: tensor for key, tensor in state.items() if not is_old(key)}


def _read(file: Path, norm: str | None, doublings: str | None) -> Network:
    raw = weights.read(file, "import", _ADVICE)
    state = _cleaned(raw)
    if not (found := _recognised(state)):
        what = f"no network known here (its keys: {', '.join(list(raw)[:3])} ...)"
        raise ValueError(f"import: {file} holds {what}, allowed: {', '.join(RECOGNISERS)}")
    chosen = dict(found.component)
    if norm and "norm" in chosen:
        if norm not in (allowed := _NORMS[chosen["norm"]]):
            raise ValueError(f"--norm: found {norm}, allowed by the keys of {file}: {', '.join(allowed)}")
        chosen["norm"] = norm
    if doublings and found.role == "generator":
        if doublings not in ("normal", "more") or chosen.get("doublings") != "normal":
            raise ValueError(f"--doublings: found {doublings}, allowed: normal or more, of a SPADE file without up_4")
        chosen["doublings"] = doublings
    prefix = next(iter(raw)).removesuffix(re.sub(f"^{_PREFIX}", "", next(iter(raw))))
    return Network(file, replace(found, component=chosen), _placed(state, found, file, prefix))


def _recognised(state: dict[str, Tensor]) -> Found | None:
    for recognise in RECOGNISERS.values() if all(t.numel() for t in state.values()) else ():
        with suppress(KeyError, IndexError):
            if found := recognise(state):
                return found
    return None


def _placed(state: dict[str, Tensor], found: Found, file: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors by our names; raises ValueError unless each has a place, and each place a tensor.

    prefix: of the file's own keys, which a mistake is told by.
    """
    not_quite = f"import: {file} is not quite a {found.component['name']} known here"
    try:
        with torch.device("meta"):
            expected: dict[str, Tensor] = build(_KNOWN, found.component, **found.facts).state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as e:  # of sizes that nothing can have
        raise ValueError(f"{not_quite} ({weights.reason(e)})") from None
    placed, unknown = dict[str, Tensor](), list[str]()

    def theirs(key: str) -> str:
        module, _, kind = key.rpartition(".")
        spectral = f"{module}.u" in state or f"{found.names.get(module)}.u" in expected
        return f"{prefix}{module}.{_ORIGINAL.get(kind, kind) if spectral else kind}"

    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        ours = f"{found.names.get(module)}.{kind}"
        if kind == "filt":  # a blur's constant kernel
            continue
        if ours in expected and expected[ours].shape == tensor.shape:
            placed[ours] = tensor.to(expected[ours].dtype).clone()
        else:
            unknown.append(f"{theirs(key)} {tuple(tensor.shape)}")
    # Networks without any norm have biases here, and batch norms of before 2018 no counters.
    zero = (".bias",) if found.component.get("norm") == "none" else ("num_batches_tracked",)
    placed |= {
        n: torch.zeros(t.shape, dtype=t.dtype) for n, t in expected.items() if n not in placed and n.endswith(zero)
    }
    back = {ours: module for module, ours in found.names.items()}
    lacking = [name.rpartition(".") for name in expected if name not in placed]
    if unknown or lacking:
        problems = [f"no place for {', '.join(unknown[:3])}"] if unknown else []
        names = [theirs(f"{back.get(module, module)}.{kind}") for module, _, kind in lacking[:3]]
        problems += [f"nothing for {', '.join(names)}"] if names else []
        raise ValueError(f"{not_quite}: {'; '.join(problems)}")
    return placed
