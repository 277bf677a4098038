"""From a recipe to the parts of a run: data, method, optimisers' settings, the batch's split."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gantrain import plan
from gantrain.component import build
from gantrain.data import sets
from gantrain.data.batch import normalise
from gantrain.data.loader import Raw, View
from gantrain.data.shards import Field, Shards
from gantrain.engine import Engine
from gantrain.method import Batch, Context, Method
from gantrain.methods import METHODS
from gantrain.recipe import Optimizer, Recipe
from gantrain.values import images_in
from gantrain.world import World, cores, has_bf16, local_ranks, set_threads

DTYPES = {"bf16": torch.float32, "fp32": torch.float32, "fp64": torch.float64}
ROLES = ("source", "target")


@dataclass
class Assembly:
    """The parts of a run on this rank; `fields` are the data's, by role (source, target)."""

    recipe: Recipe
    world: World
    train: Shards
    held_out: Shards | None
    fields: dict[str, Field]
    facts: dict[str, int]
    precision: str
    threads: int
    split: plan.Split
    settings: dict[str, Optimizer]

    @property
    def epoch(self) -> int:
        """Images in one epoch."""
        return len(self.train)

    @property
    def total(self) -> int:
        """Images in the whole run."""
        return self.images(self.recipe.length)

    def images(self, length: int | str) -> int:
        return images_in(length, self.epoch)

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    @property
    def channels_last(self) -> bool:
        asked = self.recipe.channels_last
        return self.world.device.type == "cuda" if asked == "auto" else bool(asked)

    @property
    def names(self) -> dict[str, str]:
        """The data's field of each role."""
        return {"source": self.recipe.data.source, "target": self.recipe.data.target}

    def view(self, *, training: bool) -> View:
        data = self.recipe.data
        labels = frozenset(self.names[r] for r in ROLES if self.fields[r].kind == "label")
        fields = (data.source, data.target)
        flip, jitter = (data.flip, data.jitter) if training else (False, 0.0)
        return View(fields, labels, data.size, data.resize, flip, jitter)

    def method(self) -> Method:
        """A new method; the same weights every time and on every rank."""
        return make_method(self.recipe, self.facts).to(self.world.device, self.dtype)

    def engine(self, distributed: bool = True) -> Engine:
        method = self.method()
        if self.channels_last:
            method = method.to(memory_format=torch.channels_last)
        half_life = self.recipe.ema.half_life
        return Engine(
            method,
            self.world.accelerator,
            self.settings,
            seed=self.recipe.seed,
            bf16=self.precision == "bf16",
            ema_half_life=None if half_life is None else self.images(half_life),
            compile=self.recipe.compile,
            distributed=distributed,
        )

    def batch(self, fields: dict[str, Tensor]) -> Batch:
        """What the files hold, by the data's field, as what the method sees on the device."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        seen = {
            role: normalise(fields[self.names[role]], field, self.dtype, self.world.device)
            for role, field in self.fields.items()
        }
        return {role: images.contiguous(memory_format=layout) for role, images in seen.items()}

    def micro_batches(self, raw: Raw, images_seen: int) -> tuple[list[Batch], list[Context]]:
        """This rank's share of the batch that begins at `images_seen`, in its pieces."""
        seed, size, batches, contexts = self.recipe.seed, self.split.micro_batch_size, [], []
        for start in range(0, self.split.local, size):
            piece = slice(start, start + size)
            batches.append(self.batch({name: x[piece] for name, x in raw.fields.items()}))
            positions = raw.positions[piece]
            contexts.append(Context(seed, images_seen, self.split.batch_size, positions))
        return batches, contexts

    def workers(self) -> int:
        """Loader processes for this rank."""
        asked = self.recipe.data.workers
        if asked != "auto":
            return int(asked)
        # On CPU the networks need the cores more than the decoder does.
        if self.world.device.type == "cpu":
            return 1 if self.threads > 1 else 0
        return min(8, max(1, cores() // local_ranks()))

    def describe(self) -> list[str]:
        """What will be trained, for the console."""
        method, size = make_method(self.recipe, self.facts), self.recipe.data.size
        mib = plan.memory(method.to(self.dtype), self.recipe.ema.half_life is not None)
        counts = [f"{n} {plan.parameters(m):,}" for n, m in method.networks.items()]
        lines = [
            f"data: {self.epoch:,} images an epoch, {self.total:,} in all, "
            f"from {self.train.folder}",
            f"parameters: {', '.join(counts)}",
            "MiB per rank: " + ", ".join(f"{n} {amount:,.1f}" for n, amount in mib.items()),
            f"{self.split}, {self.precision} on {self.world.device.type}, {self.threads} threads",
        ]
        for name, network in method.networks.items():
            multiple = getattr(network, "multiple", 1)
            padded = tuple(-(-s // multiple) * multiple for s in size)
            if padded != tuple(size):
                lines.append(
                    f"note: {name} pads {size[0]}x{size[1]} to {padded[0]}x{padded[1]} and crops "
                    f"the result; sizes that {multiple} divides, or fewer levels, save that work"
                )
        resize = self.recipe.data.resize
        if resize is not None and max(r / s for r, s in zip(resize, size, strict=True)) > 1.25:
            lines.append(
                f"note: trained on crops of {size[0]}x{size[1]} from {resize[0]}x{resize[1]}, "
                "validated on whole images at the crop's size; a nearer data.resize agrees better"
            )
        return lines


def make_method(recipe: Recipe, facts: dict[str, int]) -> Method:
    """Raises ValueError where the recipe contradicts the data."""
    torch.manual_seed(recipe.seed)
    method: Method = build(METHODS, recipe.method, **facts)
    return method


def check_method(recipe: Recipe, method: Method) -> None:
    """Raises ValueError, one line for each thing that the recipe asks of a method without it."""
    phases = [phase.name for phase in method.phases]
    problems = [
        f"phases.{name}: found {name!r}, allowed: {', '.join(phases)}"
        for name in recipe.phases
        if name not in phases
    ]
    size = recipe.data.size
    for name, network in method.networks.items():
        smallest = getattr(network, "minimum_size", 1)
        if min(size) < smallest:
            problems.append(
                f"data.size: found {list(size)}, the {name} needs [{smallest}, {smallest}] or "
                "more; raise data.size, or choose another one or fewer of its layers"
            )
    if problems:
        raise ValueError("\n".join(problems))


def phase_settings(recipe: Recipe, phases: list[str]) -> dict[str, Optimizer]:
    """Each phase's optimiser: the common one with the phase's changes."""
    changes = {n: c.model_dump(exclude_none=True) for n, c in recipe.phases.items()}
    return {n: recipe.optimizer.model_copy(update=changes.get(n, {})) for n in phases}


def assemble(recipe: Recipe, world: World) -> Assembly:
    """Open the data and check the recipe against them, on all ranks alike.

    Raises ValueError, one line for each problem.
    """
    threads = set_threads(recipe.threads, world.device)
    micro = recipe.micro_batch_size
    split = plan.split(recipe.batch_size, world.size, None if micro == "auto" else micro)
    data = recipe.data
    wanted = sets.Wanted(recipe.name, data.source, data.target, data.labels, data.size, data.resize)

    problems: list[str] = []

    def opened(key: str, value: str | None) -> Shards | None:
        def folder() -> Path:
            shards = sets.open_set(key, value, wanted)
            sets.check(key, shards, wanted)
            return shards.folder

        try:
            return Shards.open(world.on_main(folder))
        except ValueError as e:
            problems.extend(str(e).splitlines())
            return None

    train = opened("train", data.train)
    validation = data.validation
    if data.train == sets.SYNTHETIC:
        validation = None if train is None else sets.SYNTHETIC
    held_out = opened("validation", validation) if validation else None
    if train is None or problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    if held_out is not None:
        sets.check_alike(train, held_out, wanted)
    facts = sets.facts(train, wanted)
    method = make_method(recipe, facts)
    check_method(recipe, method)
    precision = recipe.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(world.device) else "fp32"
    return Assembly(
        recipe=recipe,
        world=world,
        train=train,
        held_out=held_out,
        fields=sets.fields(train, wanted),
        facts=facts,
        precision=precision,
        threads=threads,
        split=split,
        settings=phase_settings(recipe, [phase.name for phase in method.phases]),
    )
