"""Which sample stands at a position of the endless training stream: a pure function."""

import numpy as np

from gantrain.chance import Purpose, random_numbers

CHUNK = 256  # consecutive samples that stay together: one stretch of one shard
WINDOW = 16  # chunks mixed with one another: the shards that are open at a time


class Order:
    """Positions 0, 1, 2, ... to samples; every epoch has each of the `samples` exactly once.

    Chunks of neighbouring samples are permuted, then the samples of a few chunks among one
    another, so that a large data set is read from a bounded number of shards at a time.
    """

    def __init__(self, samples: int, seed: int) -> None:
        assert samples > 0
        self.samples, self.seed = samples, seed
        self._epochs: dict[int, np.ndarray] = {}

    def _permutation(self, epoch: int) -> np.ndarray:
        random = random_numbers(self.seed, epoch, Purpose.ORDER)
        chunks = random.permutation(-(-self.samples // CHUNK))
        samples = (chunks[:, None] * CHUNK + np.arange(CHUNK)).ravel()
        samples = samples[samples < self.samples]
        for start in range(0, self.samples, CHUNK * WINDOW):
            random.shuffle(samples[start : start + CHUNK * WINDOW])
        return samples

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.samples)
        if epoch not in self._epochs:
            # Batches straddle epochs, so two are in use; workers may fetch a little out of order.
            self._epochs = {e: p for e, p in self._epochs.items() if e >= epoch - 1}
            self._epochs[epoch] = self._permutation(epoch)
        return int(self._epochs[epoch][offset])
