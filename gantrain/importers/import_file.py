"""`gantrain import`: another project's networks as a checkpoint of ours."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gantrain.core.component import build
from gantrain.core.console import say
from gantrain.core.paths import check_not_special
from gantrain.data.scale import UNKNOWN, text_of
from gantrain.data.shards import Field
from gantrain.importers import assumptions
from gantrain.importers.import_options import DEFAULTS, ImportOptions
from gantrain.importers.reading import Network, check_upsampling, read
from gantrain.methods import METHODS
from gantrain.methods.base import Method
from gantrain.methods.cut import LAYERS
from gantrain.recipe import schema
from gantrain.runs import checkpoint
from gantrain.runs.checkpoint_state import versions

# CycleGAN's networks of the way back, by those of the way there that they are like.
_BACK = {"generator": "generator_back", "discriminator": "discriminator_source"}
_CENTRE = (256, 256)  # what `evaluate` measures where nothing is known of sizes
# Of unpaired data; metrics of pairs are the default.
_OF_SETS = {"metrics": ["fd_random0", "swd"], "best_by": "fd_random0"}


@dataclass(frozen=True)
class _Imported:
    """Sentences about a checkpoint that was made of files.

    networks: what the files hold. use, evaluation: what translating and evaluating take for
    granted. end: the sizes, and the checkpoint."""

    networks: list[str]
    use: list[str]
    evaluation: list[str]
    end: list[str]


def import_files(files: Sequence[Path], out: Path, options: ImportOptions = DEFAULTS) -> list[str]:
    """Write the checkpoint `out` of a generator that is known to RECOGNISERS and of what was
    trained with it.

    Returns sentences on what was found, and on what the importer assumes where the files leave it
    open. Raises ValueError, in one line."""
    imported = _import(files, out, options)
    return [*imported.networks, *imported.use, *imported.evaluation, *imported.end]


def _import(files: Sequence[Path], out: Path, options: ImportOptions) -> _Imported:
    if out.exists():
        raise ValueError(f"--out: {out} exists; choose another folder")
    networks = read_networks(files, norm=options.norm, upsampling=options.upsampling)
    method = _method(networks)
    made = networks["generator"]
    before = made.found.facts["in_channels"]
    facts = {"source_channels": before, "target_channels": made.found.facts["out_channels"]}
    if options.instances and before == 1:
        raise ValueError(
            f"--instances: found one channel in {made.file}, allowed: two or more, the last for the"
            " edges"
        )
    whole = schema.from_dict(_recipe(files, networks, method, options))
    built = _check_fit(networks, whole.method, facts)
    check_upsampling(made, options.upsampling)
    modes = assumptions.of_test_time(networks, built, options)
    about: dict[str, Any] = {
        "images_seen": 0,
        "fingerprint": "",
        "ranks": 1,
        "micro_batch_size": 1,
        "metrics": {},
    }
    fields = _fields(facts, whole, options)
    about |= {
        "facts": facts,
        "fields": {role: field.model_dump(mode="json") for role, field in fields.items()},
        "versions": versions(),
    }
    try:
        tensors = {f"networks/{name}": network.tensors for name, network in networks.items()}
        checkpoint.save(out.parent, whole.yaml(), tensors, about, out.name)
    except OSError as e:
        raise ValueError(f"--out: cannot write {out} ({e}); choose another folder") from None
    notes = [note for network in networks.values() for note in network.notes]
    return _Imported(
        networks=[f"{name}: {network}" for name, network in networks.items()],
        use=[
            *notes,
            *assumptions.of_norms(networks, options),
            *modes,
            *assumptions.of_sides(made, fields),
        ],
        evaluation=assumptions.of_training(networks, unpaired=whole.data.unpaired),
        end=[_about_sizes(options.resize), f"a {method['name']} model: {out}"],
    )


def _recipe(
    files: Sequence[Path],
    networks: dict[str, Network],
    method: dict[str, Any],
    options: ImportOptions,
) -> dict[str, Any]:
    """The recipe of the imported checkpoint."""
    made = networks["generator"]
    unpaired = options.unpaired or method["name"] in ("cut", "cyclegan")
    data: dict[str, Any] = {
        "unpaired": unpaired,
        "size": options.resize or _CENTRE,
        "resize": options.resize,
    }
    if _has_labels(method, options):
        classes = made.found.facts["in_channels"] - options.instances
        data["labels"] = {"image" if unpaired else "left": classes}
    if options.instances:
        data["instances"] = "instance"
    content: dict[str, Any] = {
        "name": made.file.stem.lstrip(". ") or "imported",
        "description": f"Imported from {', '.join(file.name for file in files)}",
        "method": method,
        "data": data,
        "test_time": {"dropout": options.dropout, "batch_statistics": options.batch_statistics},
    }
    if unpaired:
        content["evaluate"] = _OF_SETS
    return content


def _has_labels(method: dict[str, Any], options: ImportOptions) -> bool:
    return options.labels or method["name"] == "spade"


def _fields(
    facts: dict[str, int], whole: schema.Recipe, options: ImportOptions
) -> dict[str, Field]:
    """The kinds and channels of the source, the target and the instances."""
    seen = facts["source_channels"] - options.instances
    sides: dict[str, dict[str, Any]] = {
        "source": {"channels": seen},
        "target": {"channels": facts["target_channels"]},
    }
    if _has_labels(whole.method, options):
        sides["source"] = {"kind": "label", "channels": 1, "classes": seen}
    if options.instances:
        sides["instances"] = {"kind": "instances", "channels": 1, "dtype": "uint16"}
    return {
        role: Field(member=role, min_size=UNKNOWN, max_size=UNKNOWN, **side)
        for role, side in sides.items()
    }


def _about_sizes(resize: tuple[int, int] | None) -> str:
    if resize is not None:
        return f"sizes: evaluate and translate resize images to {text_of(resize)}"
    rule = (
        "translate leaves images at their size, and evaluate measures their centre"
        f" {text_of(_CENTRE)}"
    )
    return f"sizes: {rule}; --resize HEIGHTxWIDTH resizes them as the other project did"


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """A checkpoint's folder: a run's latest, that one itself, or what a file imports to. Raises
    ValueError.
    """
    checkpoint.check_link(path)
    check_not_special(path, "checkpoint")
    if not Path(path).is_file():
        yield checkpoint.find_checkpoint(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder, "imported")
        sentences = _import([Path(path)], imported, DEFAULTS).use
        for sentence in sentences:
            say(f"{path}: {sentence}")
        if sentences:
            say(
                f"{path}: give other options to `gantrain import {path} --out FOLDER`, and use the"
                " folder"
            )
        yield imported


def read_networks(
    files: Sequence[Path],
    *,
    norm: str | None = None,
    upsampling: str | None = None,
    both: bool = False,
) -> dict[str, Network]:
    """The files' networks by their names in our methods; where two are alike, the files' usual
    names tell.

    both: a network of CycleGAN's way back is that even where none of the way there is given; else
    it stands alone. norm, upsampling: as in ImportOptions. Raises ValueError, in one line."""
    networks: dict[str, Network] = {}
    for file in files:
        network = read(file, norm, upsampling)
        role = network.found.role
        name = _BACK.get(role, role) if re.search("net_[GD]_B$", file.stem) else role
        if name in networks:
            raise ValueError(
                f"import: {networks[name].file} and {file} are both a {name}, allowed: one of each"
                " network; CycleGAN's are told apart by their files' names, such as"
                " latest_net_G_A.pth and latest_net_G_B.pth"
            )
        networks[name] = network
    alone = not both and not any(name in networks for name in _BACK)
    return {network.found.role if alone else name: network for name, network in networks.items()}


def _method(networks: dict[str, Network]) -> dict[str, Any]:
    """The method, as a component, that has these networks. Raises ValueError where there is no
    generator.
    """
    if "generator" not in networks:
        files = ", ".join(str(network.file) for network in networks.values())
        raise ValueError(
            f"import: found {', '.join(networks)} in {files}, but no generator; give its file too,"
            " as in gantrain import latest_net_G.pth latest_net_D.pth --out FOLDER"
        )
    component, facts = networks["generator"].found.component, networks["generator"].found.facts
    alike = facts["in_channels"] == facts["out_channels"]
    judged = (
        networks["discriminator"].found.facts["in_channels"]
        if "discriminator" in networks
        else None
    )
    method: dict[str, Any] = {"name": "pix2pix"}
    if component["name"] == "spade":
        method = {"name": "spade", "style": "vae" if "style_channels" in facts else "none"}
    elif any(name in networks for name in _BACK.values()):
        method = {"name": "cyclegan"} | ({} if alike else {"identity": 0.0})
    elif (
        component["name"] == "resnet"
        and alike
        and ("projection" in networks or judged == facts["out_channels"])
    ):
        # CUT's, or one way of CycleGAN: the discriminator doesn't see the source.
        method = {
            "name": "cut",
            "layers": [name for name in LAYERS if name != "block4" or component["blocks"] > 4],
        }
        if projection := networks.get("projection"):
            method["projection_width"] = projection.found.component["width"]
    for role, back in _BACK.items():
        if given := networks.get(role) or networks.get(back):
            method[role] = given.found.component
    return method


def _check_fit(
    networks: dict[str, Network], method: dict[str, Any], facts: dict[str, int]
) -> Method:
    """The method, without memory. Raises ValueError unless the networks are its, and all that
    translating needs.
    """
    with torch.device("meta"):
        whole: Method = build(METHODS, method, **facts)
    made = networks["generator"]
    for name, network in networks.items():
        expected = whole.networks[name].state_dict() if name in whole.networks else {}
        alike = networks.get(network.found.role, network).found.component
        found, wanted = (
            {k: t.shape for k, t in tensors.items()} for tensors in (network.tensors, expected)
        )
        if network.found.component != alike or found != wanted:
            raise ValueError(
                f"import: {network.file}, a {network}, doesn't fit {made.file}, a {made}; give"
                " files of one model"
            )
    if missing := [name for name in whole.inference if name not in networks]:
        usual = {"encoder": "latest_net_E.pth", "generator_back": "latest_net_G_B.pth"}[missing[0]]
        raise ValueError(
            f"import: beside {made.file} there is no {missing[0]}; give its file too, such as"
            f" {usual}"
        )
    return whole
