"""One rank that trains until it gets a signal, and prints which of gloo's threads live on."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import gantrain


def send() -> None:
    while signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGUSR1)


threading.Thread(target=send, daemon=True).start()
assert gantrain.train("quickstart", *sys.argv[1:]).state == "unfinished"
names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
with pytest.raises(ValueError, match="this process has left its ranks' group"):
    gantrain.train("quickstart", *sys.argv[1:])
print("gloo's threads:", [name for name in names if "gloo" in name])
