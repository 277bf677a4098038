"""Remote shards fetched ahead of the stream's position."""

import threading
from collections.abc import Collection, Iterable

from gantrain.data.cache import IDLE_SECONDS, ShardCache, gib
from gantrain.data.remote import FetchFailed
from gantrain.data.sample_order import Order
from gantrain.data.shards import Shards

_STREAMS = 4  # one connection seldom fills a cluster's network
_TURN_SECONDS = 1.0
_AFTER_FAILURE_SECONDS = 10.0


def check_cache(streams: Iterable[tuple[Shards, Order]], partitions: Collection[int]) -> None:
    """Raises ValueError where a node's partitions of remote sets need a larger cache."""
    remote = [(shards, order) for shards, order in streams if shards.cache]
    need = sum(
        order.two_windows([s.bytes for s in shards.index.shards], partitions)
        for shards, order in remote
    )
    if remote and need > (limit := remote[0][0].cache_gib) * 2**30:
        needed = f"mixing samples needs {gib(need)} on each node; data.cache_gib={gib(need)} works"
        raise ValueError(f"data.cache_gib: found {limit:.4g}, {needed}")


class Prefetch:
    """Fetches what the stream needs in this window and the next, on one rank of a node.

    Set `position` as the stream goes on. Its threads end with the process, whatever they wait for;
    what they can't fetch is left to the loader, which says why. Start it after the loader's
    processes: these must not be forked in the middle of a fetch.
    """

    def __init__(
        self, shards: Shards, order: Order, partitions: Collection[int], position: int, stop: int
    ) -> None:
        self.shards, self.order, self.partitions = shards, order, partitions
        self.position, self.stop = position, stop
        self._needed: dict[int, None] = {}  # soonest first
        self._lock, self._ended = threading.Lock(), threading.Event()
        for _ in range(_STREAMS if shards.cache and partitions else 0):
            threading.Thread(
                target=self._work, args=[shards.cache], name="prefetch", daemon=True
            ).start()

    def close(self) -> None:
        self._ended.set()

    def _work(self, cache: ShardCache) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            with self._lock:
                needed = self._look_ahead(cache)
            try:
                fetched = any(cache.prefetch(self.shards.remote(shard)) for shard in needed)
                pause = 0.0 if fetched else _TURN_SECONDS
            except FetchFailed:
                pause = _AFTER_FAILURE_SECONDS

    def _look_ahead(self, cache: ShardCache) -> list[int]:
        needed, count = dict[int, None](), len(self.order.parts)
        at = {p: self.position + (p - self.position) % count for p in self.partitions}
        for _ in ("this window", "the next"):
            for partition, position in at.items():
                if position < self.stop:
                    found, _, at[partition] = self.order.window(position)
                    needed |= dict.fromkeys(found)
        # Evicted are those untouched for longest: what was needed, then what is needed last.
        cache.touch([self.shards.remote(s) for s in self._needed if s not in needed], IDLE_SECONDS)
        cache.touch(map(self.shards.remote, reversed(needed)))
        self._needed = needed
        return list(needed)
