"""Remote shards fetched ahead of the stream's position."""

import threading
from collections.abc import Collection, Iterable

from gantrain.core.errors import UserError
from gantrain.data.cache import IDLE_SECONDS, ShardCache, gib
from gantrain.data.remote import FetchFailed
from gantrain.data.sample_order import Order
from gantrain.data.shards import Shards

_STREAMS = 4  # one connection seldom fills a cluster's network
_TURN_SECONDS = 1.0
_AFTER_FAILURE_SECONDS = 10.0


def check_cache(streams: Iterable[tuple[Shards, Order]], partitions: Collection[int]) -> None:
    """Raises UserError where a node's partitions of remote sets need a larger cache."""
    needed_bytes = 0
    cache_gib = 0.0
    for shards, order in streams:
        if shards.cache:
            cache_gib = cache_gib or shards.cache_gib
            sizes = [shard.bytes for shard in shards.index.shards]
            needed_bytes += order.two_windows(sizes, partitions)
    if needed_bytes > cache_gib * 2**30:
        needed = gib(needed_bytes)
        raise UserError(
            f"data.cache_gib: found {cache_gib:.4g}, mixing samples needs {needed} on each node;"
            f" data.cache_gib={needed} works"
        )


class Prefetch:
    """Fetches the shards of the stream's present window and the next, on one rank of a node.

    Set `position` as the stream goes on. The threads end with the process, whatever they wait for.
    What they cannot fetch is left to the loader, which reports the reason. Start it after the
    loader's processes: these must not be forked in the middle of a fetch.
    """

    def __init__(
        self, shards: Shards, order: Order, partitions: Collection[int], position: int, stop: int
    ) -> None:
        self.shards = shards
        self.order = order
        self.partitions = partitions
        self.position = position
        self.stop = stop
        self._needed: dict[int, None] = {}  # shards, soonest first
        self._lock = threading.Lock()
        self._ended = threading.Event()
        if shards.cache is None or not partitions:
            return
        for _ in range(_STREAMS):
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
        """Return the shards of the present window and the next one of each partition."""
        needed: dict[int, None] = {}  # in order, without repeats
        count = len(self.order.parts)
        next_position = {p: self.position + (p - self.position) % count for p in self.partitions}
        for _ in ("this window", "the next"):
            for partition, position in next_position.items():
                if position < self.stop:
                    window = self.order.window(position)
                    next_position[partition] = window.end
                    needed |= dict.fromkeys(window.shards)
        # The cache evicts the shards that were untouched for longest: first what was needed, then
        # what is needed last.
        past = [shard for shard in self._needed if shard not in needed]
        cache.touch(map(self.shards.remote, past), IDLE_SECONDS)
        cache.touch(map(self.shards.remote, reversed(needed)))
        self._needed = needed
        return list(needed)
