"""Data without pairs: a set of sources and another one of targets."""

import copy
from collections.abc import Iterable, Mapping, Sequence

from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.shards import Shards


class Unpaired:
    """Two sets as one of pairs, whose fields are called `source` and `target`.

    sets: the sources, the targets. names: their own fields. As long as the longer set; of held-out
    samples, number i is number i of each, modulo its length. In training the sets are two streams.
    """

    def __init__(self, sets: Sequence[Shards], names: Sequence[str]) -> None:
        parts = zip(sets, names, ("source", "target"), strict=True)
        self._take(shards.showing(field, role) for shards, field, role in parts)

    def _take(self, domains: Iterable[Shards]) -> None:
        self.domains = tuple(domains)
        self.fields = {name: field for side in self.domains for name, field in side.fields.items()}
        self.fingerprint = " ".join(side.fingerprint for side in self.domains)
        self.place = " and ".join(side.place for side in self.domains)

    def converted(self, channels: Mapping[str, int]) -> "Unpaired":
        """The same samples with other channels of some fields, as a `Shards`' `converted`."""
        changed = copy.copy(self)
        changed._take(
            side.converted({n: c for n, c in channels.items() if n in side.fields})
            for side in self.domains
        )
        return changed

    def __len__(self) -> int:
        return max(map(len, self.domains))


DataSet = Shards | Unpaired


def targets_seed(seed: int) -> int:
    """Of the targets' stream, whose order and augmentation have nothing to do with the sources'."""
    return int(random_numbers(seed, 0, Purpose.TARGETS).integers(2**63))
