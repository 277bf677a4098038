"""The loops that `throughput.py` compares: the step of gantrain, and that of research code."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.data.batch import as_batch
from gantrain.data.loader import RawBatch
from gantrain.losses.adversarial import discriminator_loss, generator_loss
from gantrain.methods.base import Batch, Method
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.recipe.build_method import make_method
from gantrain.training.setup import RunSetup

# Options of gantrain that the published pix2pix does not have.
_OTHERS = ("penalties", "more_discriminators", "pool")


def _is_weighted(method: Method) -> bool:
    """Return whether a loss weights pixels."""
    return any(getattr(loss, "weight_by", None) for loss in method.auxiliary.values())


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


class Trained:
    """The step of gantrain on one batch, repeated. Only its position in the stream moves on.

    exchange: whether the ranks exchange gradients. Without it, each rank trains for itself.
    """

    def __init__(self, setup: RunSetup, exchange: bool = True) -> None:
        self.setup, self.engine, self.images_seen = setup, setup.engine(exchange), 0
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
        method = make_method(setup.recipe, setup.data.dims).to(setup.world.device)
        options = setup.recipe.method
        extra = [name for name in _OTHERS if options.get(name)]
        losses = method.reconstruction.weights if isinstance(method, Pix2Pix) else {}
        l1 = losses.get("l1", 0.0)
        if set(losses) - {"l1"} or isinstance(l1, dict) or _is_weighted(method):
            extra.append("losses")
        if not isinstance(method, Pix2Pix) or extra:
            raise ValueError(
                f"--baseline: found {', '.join([options['name'], *extra])}; the plain loop trains "
                f"pix2pix with l1 alone, without {', '.join(_OTHERS)}"
            )
        adversary = method.adversaries.first
        self.loss = adversary.loss
        self.l1 = l1
        self.gan = adversary.generator_weight
        self.device = setup.world.device
        self.generator, self.discriminator = method.networks.values()
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(
                method.networks[name].parameters(),
                lr=setup.settings[name].lr,
                betas=setup.settings[name].betas,
                fused=False,
                foreach=False,
            )
            for name in method.networks
        )

    def on(self, batch: dict[str, Tensor]) -> Callable[[], None]:
        """Return the step on float images in host memory, which are made contiguous."""
        source, target = batch["source"].contiguous(), batch["target"].contiguous()

        def step() -> None:
            benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
            self._step(source.to(self.device), target.to(self.device))
            torch.backends.cudnn.benchmark = benchmark  # gantrain's steps come next

        return step

    def _step(self, source: Tensor, target: Tensor) -> list[float]:
        fake = self.generator(source)

        self.discriminator.requires_grad_(True)
        self.discriminator_adam.zero_grad()
        on_fake = self.discriminator(torch.cat([source, fake], 1).detach())
        on_real = self.discriminator(torch.cat([source, target], 1))
        d = 0.5 * discriminator_loss(self.loss, on_real, on_fake)
        d.backward()
        self.discriminator_adam.step()

        self.discriminator.requires_grad_(False)
        self.generator_adam.zero_grad()
        judged = self.discriminator(torch.cat([source, fake], 1))
        gan, l1 = self.gan * generator_loss(self.loss, judged), self.l1 * F.l1_loss(fake, target)
        (gan + l1).backward()
        self.generator_adam.step()
        return [d.item(), gan.item(), l1.item()]
