"""A history of generated images for the discriminator."""

import torch
from torch import Tensor

from gantrain.core.rng import Purpose
from gantrain.methods.base import Context


class ImagePool:
    """Shows the discriminator an older fake half of the time (Shrivastava et al. 2017, sec. 2.3).

    Slot j of the batch owns a share of `size // batch_size` images (at least one), so that the
    history moves with the slot when the number of ranks changes. Which image is shown follows
    from (seed, position) and is known on the host: the device is never asked. Each pool of a method
    draws for a `purpose` of its own.
    """

    def __init__(self, size: int, purpose: Purpose = Purpose.POOL) -> None:
        self.size, self.purpose = size, purpose
        self.slots: dict[int, Tensor] = {}  # slot -> (share, C, H, W)

    def __call__(self, fakes: Tensor, context: Context) -> Tensor:
        """Fakes (N, C, H, W) of this micro-batch, some replaced by older ones."""
        if self.size == 0:
            return fakes
        share = self.share(context.batch_size)
        shown = []
        for fake, position in zip(fakes, context.positions, strict=True):
            slot = position - context.images_seen
            if slot not in self.slots:
                self.slots[slot] = fake.new_zeros((share, *fake.shape))
            store = self.slots[slot]
            if store.shape != (share, *fake.shape):
                found = (
                    f"a checkpoint's images of shape {tuple(store.shape[1:])}, this run's have"
                    f" {tuple(fake.shape)}"
                )
                raise ValueError(
                    f"pools: found {found}; remove the checkpoint, or choose run=OTHER"
                )
            # A non-finite fake must not enter the history; its step is undone anyway.
            finite = fake.isfinite().all()
            if context.turn < share:
                shown.append(fake)
                store[context.turn].copy_(torch.where(finite, fake, 0.0))
                continue
            random = context.random(position, self.purpose)
            index, swap = int(random.integers(share)), random.random() < 0.5
            shown.append(store[index].clone() if swap else fake)
            if swap:
                store[index].copy_(torch.where(finite, fake, store[index]))
        return torch.stack(shown)

    def share(self, batch_size: int) -> int:
        """How many images each slot of the batch owns."""
        return max(1, self.size // batch_size)

    def state_dict(self) -> dict[str, Tensor]:
        return {str(slot): images for slot, images in self.slots.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.slots = {int(slot): images for slot, images in state.items()}
