"""The lines that describe the setup of a run on the console."""

from gantrain.core.amounts import count_text
from gantrain.data.scale import held_out_notice, text_of
from gantrain.metrics.flattery import flattery
from gantrain.recipe import costs
from gantrain.recipe.data_section import Data
from gantrain.recipe.degradation_sizes import source_size
from gantrain.runs import run_summary
from gantrain.training.setup import RunSetup


def describe_setup(setup: RunSetup) -> list[str]:
    """Return the lines on what will be trained, and on which data and device."""
    data = setup.data
    recipe = setup.recipe
    length = run_summary.describe_length(setup.length, data.epoch, recipe.batch_size)
    lines = [
        f"data: {run_summary.describe_data(data.train, recipe.data.train)}",
        *_describe_degradation(recipe.data),
        f"length: {length}",
        f"parameters: {_describe_parameters(setup)}",
        f"losses: {run_summary.describe_losses(setup.sketch)}",
        f"memory: {setup.memory}",
        *setup.evaluation_notes,
    ]
    if data.held_out is not None or data.test is not None:
        notice = held_out_notice(recipe.data.size, recipe.data.resize)
        if notice:
            lines.append(notice)
    lines += data.held_out_lines
    lines += [f"init_from: {line}" for line in setup.init_from_lines]
    lines += setup.data_warnings
    lines += _warn_of_flattery(setup)
    if setup.precision_choice.line:
        lines.append(setup.precision_choice.line)
    threads = count_text(setup.threads, "thread")
    lines.append(f"{data.split}, {setup.precision} on {setup.world.device.type}, {threads}")
    return lines


def _describe_degradation(data: Data) -> list[str]:
    """Return a line on how the sources are made, where the data do not hold them."""
    if not data.degrade:
        return []
    names = ", then ".join(str(degradation["name"]) for degradation in data.degrade)
    size = text_of(source_size(data))
    return [f"source: made from {data.target} by {names}, height x width {size}"]


def describe_costs(setup: RunSetup) -> list[str]:
    """Return the lines of a dry run on padding, and on the disk space of the run."""
    checkpoint_size = costs.checkpoint_bytes(setup.sketch, setup.recipe, setup.item_bytes)
    return [
        *setup.size_notes,
        *costs.describe_run(setup.recipe, setup.data.epoch, setup.length, checkpoint_size),
    ]


def _describe_parameters(setup: RunSetup) -> str:
    """Return the number of each network's parameters, and how many of them are frozen."""
    counts: list[str] = []
    frozen = 0
    for name, network in setup.sketch.networks.items():
        parameters = list(network.parameters())
        counts.append(f"{name} {sum(p.numel() for p in parameters):,}")
    for parameter in setup.sketch.networks.parameters():
        if not parameter.requires_grad:
            frozen += parameter.numel()
    text = ", ".join(counts)
    return f"{text}; frozen {frozen:,}" if frozen else text


def _warn_of_flattery(setup: RunSetup) -> list[str]:
    """Return a warning where training pleases the network that chooses the best checkpoint."""
    recipe = setup.recipe
    if setup.data.held_out is None or not recipe.checkpoint.best:
        return []
    networks = {**setup.sketch.networks, **setup.sketch.auxiliary}
    reason = flattery(recipe.evaluate.best_by, networks)
    return [f"warning: {reason}"] if reason else []
