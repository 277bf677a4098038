"""A history of generated images for the discriminator."""

import torch
from torch import Tensor

from gantrain.core.errors import UserError
from gantrain.core.rng import Purpose
from gantrain.methods.base import Context


class ImagePool:
    """A history of fakes, of which the discriminator sees an older one half of the time.

    Shrivastava et al. 2017, arXiv 1612.07828, section 2.3. Each slot of the batch owns `size //
    batch_size` images (at least one), so that the history moves with the slot when the number of
    ranks changes. The images to show follow from (seed, position) and are known on the host, so
    that no step waits for the device.

    size: images of the history; 0 has none. purpose: each pool of a method draws for its own,
    one of gantrain's or a text such as `mine.pool`.
    """

    def __init__(self, size: int, purpose: Purpose | str = Purpose.POOL) -> None:
        self.size = size
        self.purpose = purpose
        self.slots: dict[int, Tensor] = {}  # by slot of the batch: (share, C, H, W)

    def __call__(self, fakes: Tensor, context: Context) -> Tensor:
        """Return the fakes of this micro-batch, (N, C, H, W), some replaced by older ones.

        Raises UserError where the history's images have another shape.
        """
        if self.size == 0:
            return fakes
        shown = []
        for fake, position in zip(fakes, context.positions, strict=True):
            history = self._history(position - context.images_seen, fake, context.batch_size)
            shown.append(self._show(history, fake, position, context))
        return torch.stack(shown)

    def _history(self, slot: int, fake: Tensor, batch_size: int) -> Tensor:
        """Return the images of one slot, (share, C, H, W). They start as zeros."""
        shape = (self.share(batch_size), *fake.shape)
        if slot not in self.slots:
            self.slots[slot] = fake.new_zeros(shape)
        history = self.slots[slot]
        if history.shape != shape:
            raise UserError(
                f"pools: found a checkpoint's images of shape {tuple(history.shape[1:])}, this"
                f" run's have {tuple(fake.shape)}; remove the checkpoint, or choose run=OTHER"
            )
        return history

    def _show(self, history: Tensor, fake: Tensor, position: int, context: Context) -> Tensor:
        """Return the fake, or an image of the history in whose place the fake then stays."""
        # A non-finite fake must not enter the history. Its step is undone anyway.
        is_finite = fake.isfinite().all()
        if context.turn < len(history):  # the first turns fill the history
            history[context.turn].copy_(torch.where(is_finite, fake, 0.0))
            return fake
        random = context.random(position, self.purpose)
        index = int(random.integers(len(history)))
        if random.random() >= 0.5:
            return fake
        older = history[index].clone()
        history[index].copy_(torch.where(is_finite, fake, history[index]))
        return older

    def share(self, batch_size: int) -> int:
        """Return how many images each slot of the batch owns."""
        return max(1, self.size // batch_size)

    def state_dict(self) -> dict[str, Tensor]:
        return {str(slot): images for slot, images in self.slots.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.slots = {int(slot): images for slot, images in state.items()}
