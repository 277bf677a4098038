"""`gantrain import`: write another project's networks as a checkpoint of ours."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.data.scale import UNKNOWN, text_of
from gantrain.data.shards import Field
from gantrain.importers import assumptions
from gantrain.importers.import_options import DEFAULTS, ImportOptions
from gantrain.importers.layout import GENERATOR_ROLE
from gantrain.importers.reading import NetworkFile, check_upsampling
from gantrain.importers.recognition import build_checked, choose_method, read_networks
from gantrain.methods import METHODS
from gantrain.recipe import schema
from gantrain.runs import checkpoint
from gantrain.runs.checkpoint_state import versions

_CENTRE = (256, 256)  # what `evaluate` measures where nothing is known of sizes
# The metrics of unpaired data; the default ones are of pairs.
_SET_METRICS = {"metrics": ["fd_random0", "swd"], "best_by": "fd_random0"}


@dataclass(frozen=True)
class _Report:
    """Sentences about a checkpoint that was made of files.

    networks: the networks of the files. use: what the importer assumes for translation.
    evaluation: what it assumes for evaluation. end: the sizes, and the checkpoint.
    """

    networks: list[str]
    use: list[str]
    evaluation: list[str]
    end: list[str]


def import_files(files: Sequence[Path], out: Path, options: ImportOptions = DEFAULTS) -> list[str]:
    """Write the checkpoint `out` of a generator and of the networks that were trained with it.

    Their layouts are those of RECOGNISERS. Returns sentences on the networks, and on what the
    importer assumes where the files leave it open. Raises UserError, in one line.
    """
    report = _import(files, out, options)
    return [*report.networks, *report.use, *report.evaluation, *report.end]


def _import(files: Sequence[Path], out: Path, options: ImportOptions) -> _Report:
    if out.exists():
        raise UserError(f"--out: {out} exists; choose another folder")
    by_role = read_networks(files, norm=options.norm, upsampling=options.upsampling)
    component = choose_method(by_role)
    generator = by_role[GENERATOR_ROLE]
    channels = {
        "source_channels": generator.layout.data_dims["in_channels"],
        "target_channels": generator.layout.data_dims["out_channels"],
    }
    if options.instances and channels["source_channels"] == 1:
        raise UserError(
            f"--instances: found one channel in {generator.file}, allowed: two or more, the last"
            " one for the instance boundary map"
        )
    recipe = schema.from_dict(_recipe(files, generator, component, options))
    method, networks = build_checked(by_role, recipe.method, channels)
    check_upsampling(generator, options.upsampling)
    use: list[str] = []
    for network in networks.values():
        use += network.notes
    use += assumptions.of_norms(networks, options)
    use += assumptions.of_test_time(generator, method, options)
    fields = _fields(channels, recipe, options)
    use += assumptions.of_domains(generator, fields)
    _write(out, recipe, networks, _state(channels, fields))
    return _Report(
        networks=[f"{name}: {network}" for name, network in networks.items()],
        use=use,
        evaluation=assumptions.of_training(networks, unpaired=recipe.data.unpaired),
        end=[_about_sizes(options.resize), f"a {component['name']} model: {out}"],
    )


def _write(
    out: Path, recipe: schema.Recipe, networks: dict[str, NetworkFile], state: dict[str, object]
) -> None:
    """Write the checkpoint. Raises UserError."""
    tensors = {f"networks/{name}": network.tensors for name, network in networks.items()}
    try:
        checkpoint.save(out.parent, recipe.yaml(), tensors, state, name=out.name)
    except OSError as e:
        raise UserError(f"--out: cannot write {out} ({e}); choose another folder") from None


def _state(channels: dict[str, int], fields: dict[str, Field]) -> dict[str, object]:
    """Return the checkpoint's state, as of a run that has seen no image."""
    return {
        "images_seen": 0,
        "fingerprint": "",
        "ranks": 1,
        "micro_batch_size": 1,
        "metrics": {},
        "facts": channels,
        "fields": {role: field.model_dump(mode="json") for role, field in fields.items()},
        "versions": versions(),
    }


def _recipe(
    files: Sequence[Path], generator: NetworkFile, method: dict[str, object], options: ImportOptions
) -> dict[str, object]:
    """Return the recipe of the imported checkpoint."""
    unpaired = options.unpaired or not METHODS[str(method["name"])].paired
    data: dict[str, object] = {
        "unpaired": unpaired,
        "size": options.resize or _CENTRE,
        "resize": options.resize,
    }
    if _has_labels(method, options):
        classes = generator.layout.data_dims["in_channels"] - options.instances
        data["labels"] = {"image" if unpaired else "left": classes}
    if options.instances:
        data["inputs"] = {"instances": "instance"}
    content: dict[str, object] = {
        "name": generator.file.stem.lstrip(". ") or "imported",
        "description": f"Imported from {', '.join(file.name for file in files)}",
        "method": method,
        "data": data,
        "test_time": {"dropout": options.dropout, "batch_statistics": options.batch_statistics},
    }
    if unpaired:
        content["evaluate"] = _SET_METRICS
    return content


def _has_labels(method: dict[str, object], options: ImportOptions) -> bool:
    return options.labels or method["name"] == "spade"


def _fields(
    channels: dict[str, int], recipe: schema.Recipe, options: ImportOptions
) -> dict[str, Field]:
    """Return the kinds and channels of the source, the target and the instances."""
    source_channels = channels["source_channels"] - options.instances
    settings: dict[str, dict[str, object]] = {
        "source": {"channels": source_channels},
        "target": {"channels": channels["target_channels"]},
    }
    if _has_labels(recipe.method, options):
        settings["source"] = {"kind": "label", "channels": 1, "classes": source_channels}
    if options.instances:
        settings["instances"] = {"kind": "instances", "channels": 1, "dtype": "uint16"}
    return {
        role: Field(member=role, min_size=UNKNOWN, max_size=UNKNOWN, **of_role)
        for role, of_role in settings.items()
    }


def _about_sizes(resize: tuple[int, int] | None) -> str:
    if resize is not None:
        return f"sizes: evaluate and translate resize images to {text_of(resize)}"
    return (
        "sizes: translate leaves images at their size, and evaluate measures their centre"
        f" {text_of(_CENTRE)}; --resize HEIGHTxWIDTH resizes them as the other project did"
    )


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """Give the folder of a checkpoint: the latest one of a run, `path` itself, or an imported file.

    Raises UserError.
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
