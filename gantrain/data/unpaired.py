"""Data without pairs: a set of sources and another one of targets."""

import copy
from collections.abc import Mapping, Sequence

from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.shards import Field, Shards


class Unpaired:
    """Two sets as one set of pairs, whose fields are called `source` and `target`.

    sets: the sources, the targets. names: the field of each set. It is as long as the longer set:
    held-out sample i is sample i of each set, modulo its length. In training the sets are two
    streams.
    """

    def __init__(self, sets: Sequence[Shards], names: Sequence[str]) -> None:
        sources, targets = sets
        source, target = names
        self._take([sources.showing(source, "source"), targets.showing(target, "target")])

    def _take(self, domains: Sequence[Shards]) -> None:
        self.domains = tuple(domains)
        self.fields: dict[str, Field] = {}
        for domain in domains:
            self.fields |= domain.fields
        self.fingerprint = " ".join(domain.fingerprint for domain in domains)
        self.place = " and ".join(domain.place for domain in domains)

    def converted(self, changed: Mapping[str, Field]) -> "Unpaired":
        """Return the same samples with other channels or ranges of some fields.

        See `Shards.converted`.
        """
        domains = []
        for domain in self.domains:
            own = {name: field for name, field in changed.items() if name in domain.fields}
            domains.append(domain.converted(own))
        converted = copy.copy(self)
        converted._take(domains)
        return converted

    def __len__(self) -> int:
        return max(map(len, self.domains))


DataSet = Shards | Unpaired


def targets_seed(seed: int) -> int:
    """Return the seed of the targets' stream, which is independent of the sources' stream."""
    return int(random_numbers(seed, 0, Purpose.TARGETS).integers(2**63))
