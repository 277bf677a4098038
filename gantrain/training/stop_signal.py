"""Leaving at the same step on all ranks when a signal comes."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Self

import torch
import torch.distributed as dist

# SLURM sends a signal to a rank and to its launcher, which sends it to the rank again.
_SAME_SECONDS = 5.0


class StopFlag:
    """Set by SIGTERM, SIGINT, SIGHUP or the named signal on any rank; a later one leaves at once.

    The ranks agree through a reduction on the host that is begun at one step and read at the
    next, so that no step waits for it.
    """

    def __init__(self, extra_signal: str) -> None:
        self.wanted = self.agreed = self._left = False
        self._since = 0.0
        self._group: dist.ProcessGroup | None = None
        if dist.is_initialized():
            self._group = dist.new_group(backend="gloo")  # type: ignore[assignment]
        self._value = torch.zeros(1)
        self._work: dist.Work | None = None
        numbers = [signal.SIGTERM, signal.SIGINT, signal.Signals[extra_signal]]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
            numbers.append(signal.SIGHUP)
        if threading.current_thread() is not threading.main_thread():
            numbers = []  # Python delivers signals to the main thread alone
        self._before = {number: signal.signal(number, self._handle) for number in numbers}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._left = True
        if not any(error):  # else a peer may be gone
            if self._work is not None:
                self._work.wait()
            # A handler that stays keeps this object, and would keep gloo's threads.
            self._work = None
            self._group = None
        if not self.agreed:  # else the signal may still be on its way to this rank
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.wanted:
            self.request()
        elif time.monotonic() - self._since > _SAME_SECONDS:
            if self._left:
                self._restore()
                signal.raise_signal(number)
            else:
                os._exit(128 + number)

    def request(self) -> None:
        """Have all ranks leave as a signal does; a signal that follows is the first one."""
        if not self.wanted:
            self.wanted = True
            self._since = time.monotonic()

    def poll(self) -> None:
        """Set `agreed` where any rank wanted to stop when all had ended the previous step."""
        if self._group is None:
            self.agreed = self.wanted
            return
        if self._work is not None:
            self._work.wait()
        self.agreed = bool(self._value.item())
        self._value = torch.full((1,), float(self.wanted))
        self._work = dist.all_reduce(self._value, dist.ReduceOp.MAX, self._group, async_op=True)
