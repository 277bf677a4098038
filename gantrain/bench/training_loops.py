"""The loops that are compared: the step of gantrain, and that of research code."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.data.batch import as_batch
from gantrain.data.loader import RawBatch
from gantrain.losses.adversarial import discriminator_loss, generator_loss
from gantrain.losses.pixel_losses import PixelLoss
from gantrain.methods.base import Batch, Method
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.recipe.build_method import make_method
from gantrain.training.setup import RunSetup

# Options of gantrain that the published pix2pix does not have.
_OTHERS = ("penalties", "more_discriminators", "pool")


def _is_weighted(method: Method) -> bool:
    """Return whether a loss weights pixels."""
    losses = [loss for loss in method.auxiliary.values() if isinstance(loss, PixelLoss)]
    return any(loss.weight_by for loss in losses)


def raw_batch(setup: RunSetup, images: int) -> dict[str, torch.Tensor]:
    """Return random pixels and class ids, NHWC in host memory, as the loader returns them."""
    height, width = setup.recipe.data.size
    random = torch.Generator().manual_seed(setup.world.rank)
    raw = {}
    for role, data in setup.data.fields.items():
        shape = (images, height, width, data.channels)
        values = torch.randint(data.classes or 256, shape, generator=random, dtype=torch.uint8)
        raw[role] = values.pin_memory() if setup.world.device.type == "cuda" else values
    return raw


def float_batch(setup: RunSetup, images: int) -> Batch:
    """Return the same as float images on the host, as a reference loader returns them."""
    return as_batch(raw_batch(setup, images), setup.data.fields, torch.float32, torch.device("cpu"))


def cycle(setup: RunSetup) -> int:
    """Return the number of steps after which the work repeats.

    Whatever is due in every n-th step is due a whole number of times in these steps.
    """
    intervals = [*_intervals(setup.recipe.method)]
    intervals += [settings.interval_steps for settings in setup.settings.values()]
    return math.lcm(*intervals)


def _intervals(content: object) -> Iterator[int]:
    """Yield the values of all keys `interval_steps`, however deeply they are nested."""
    if isinstance(content, list | tuple):
        for item in content:
            yield from _intervals(item)
    elif isinstance(content, dict):
        for key, value in content.items():
            if key == "interval_steps" and value:
                yield int(value)
            else:
                yield from _intervals(value)


class Trained:
    """The step of gantrain on one batch, repeated. Only its position in the stream moves on.

    exchange: whether the ranks exchange gradients. Without it, each rank trains for itself.
    """

    def __init__(self, setup: RunSetup, exchange: bool = True) -> None:
        self.setup = setup
        self.engine = setup.engine(exchange)
        self.images_seen = 0
        self.rates = {name: settings.lr for name, settings in setup.settings.items()}
        raw = raw_batch(setup, setup.data.split.per_rank)
        self.raw = {setup.data.names[role]: values for role, values in raw.items()}

    def __call__(self) -> None:
        slots = self.setup.data.split.slots(self.setup.world.rank)
        self.on(RawBatch(self.raw, tuple(self.images_seen + slot for slot in slots), ()))

    def on(self, raw: RawBatch) -> None:
        """Run the step on this rank's part of a batch."""
        batches, contexts = self.setup.micro_batches(raw, self.images_seen)
        self.engine.step(batches, contexts, self.rates)
        self.images_seen += self.setup.data.split.batch_size


def check_plain(setup: RunSetup) -> None:
    """Raise UserError where the recipe is not plain pix2pix, which the plain loop trains."""
    method = setup.sketch
    options = setup.recipe.method
    extra = [name for name in _OTHERS if options.get(name)]
    if isinstance(method, Pix2Pix):
        losses = method.reconstruction.weights
        is_scheduled = isinstance(losses.get("l1", 0.0), dict)
        if set(losses) - {"l1"} or is_scheduled or _is_weighted(method):
            extra.append("losses")
    if not isinstance(method, Pix2Pix) or extra:
        raise UserError(
            f"found {', '.join([options['name'], *extra])}; the plain loop trains pix2pix with l1"
            f" alone, without {', '.join(_OTHERS)}"
        )


def _l1_weight(method: Pix2Pix) -> float:
    weight = method.reconstruction.weights.get("l1", 0.0)
    assert isinstance(weight, int | float)
    return weight


def _plain_adam(setup: RunSetup, phase: str, network: nn.Module) -> torch.optim.Adam:
    settings = setup.settings[phase]
    return torch.optim.Adam(
        network.parameters(), lr=settings.lr, betas=settings.betas, fused=False, foreach=False
    )


class Plain:
    """pix2pix as research code trains it, in plain PyTorch.

    It has the order and the calls of pytorch-CycleGAN-and-pix2pix. The discriminator comes first
    and sees fake and real images in a forward each. Then comes the generator, through a
    discriminator that takes no gradients. One forward of the generator serves both. It uses fp32,
    eager mode, contiguous memory, Adam without fusing, and cuDNN's benchmark mode. Float batches
    come from pageable memory. Each loss is read as a number in every step. There is no EMA, and no
    guard against non-finite gradients.

    The networks and losses are gantrain's own, so that only the training differs. Raises ValueError
    if the recipe is not plain pix2pix.
    """

    def __init__(self, setup: RunSetup) -> None:
        check_plain(setup)
        method = make_method(setup.recipe, setup.data.dims).to(setup.world.device)
        assert isinstance(method, Pix2Pix)
        adversary = method.adversaries.first
        self.loss = adversary.loss
        self.l1 = _l1_weight(method)
        self.gan = adversary.generator_weight
        self.device = setup.world.device
        self.generator, self.discriminator = method.networks.values()
        self.generator_adam = _plain_adam(setup, "generator", self.generator)
        self.discriminator_adam = _plain_adam(setup, "discriminator", self.discriminator)

    def on(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Return the step on float images in host memory, which are made contiguous."""
        source = batch["source"].contiguous()
        target = batch["target"].contiguous()

        def step() -> None:
            self.train(source, target)

        return step

    def train(self, source: Tensor, target: Tensor) -> list[float]:
        """Run the step on float images in host memory, NCHW. Return the three losses."""
        benchmark = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        losses = self._step(source.to(self.device), target.to(self.device))
        torch.backends.cudnn.benchmark = benchmark  # gantrain's steps come next
        return losses

    def _step(self, source: Tensor, target: Tensor) -> list[float]:
        fake = self.generator(source)

        self.discriminator.requires_grad_(True)
        self.discriminator_adam.zero_grad()
        on_fake = self.discriminator(torch.cat([source, fake], 1).detach())
        on_real = self.discriminator(torch.cat([source, target], 1))
        d = 0.5 * discriminator_loss(self.loss, on_real, on_fake)
        torch.autograd.backward(d)
        self.discriminator_adam.step()

        self.discriminator.requires_grad_(False)
        self.generator_adam.zero_grad()
        judged = self.discriminator(torch.cat([source, fake], 1))
        gan = self.gan * generator_loss(self.loss, judged)
        l1 = self.l1 * F.l1_loss(fake, target)
        torch.autograd.backward(gan + l1)
        self.generator_adam.step()
        return [d.item(), gan.item(), l1.item()]
