"""A checkout of pytorch-CycleGAN-and-pix2pix as a side of `gantrain bench`, in its own process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

from gantrain.bench import peer_program
from gantrain.bench.peer_files import write_peer_files
from gantrain.bench.peer_settings import check_peer, peer_settings
from gantrain.bench.sides import WORKS
from gantrain.bench.timed_loader import untimed_batches
from gantrain.core.errors import UserError
from gantrain.training.setup import RunSetup

_PREFETCHED = 2  # PyTorch's default, which the peer takes
_PATIENCE_SECONDS = 10.0


class PeerSide:
    """The peer's step and loader, in a process that this one starts and ends.

    peer: the folder of the checkout. folder: an empty one, for images and for what the peer writes.
    lines: on what differs from the recipe. The process runs inside the context. Raises UserError
    where the folder or the recipe is not one for a comparison, or where the peer's code fails.
    """

    def __init__(self, setup: RunSetup, steps: int, *, peer: Path, folder: Path) -> None:
        self.name = "peer"
        self.works = WORKS
        self.peer = peer.absolute()
        self.folder = folder
        self.steps = steps
        model = check_peer(self.peer, setup.recipe)
        base_options = (self.peer / "options/base_options.py").read_text(encoding="utf-8")
        has_gpu_ids = "--gpu_ids" in base_options
        settings = peer_settings(setup, model, has_gpu_ids)
        self.lines = settings.differences
        if any(field.kind == "label" for field in setup.data.fields.values()):
            self.lines.append("the peer sees label maps as RGB images")
        self.untimed = untimed_batches(setup.data.workers(setup.threads), _PREFETCHED)
        samples = (self.untimed + steps) * setup.data.split.batch_size
        write_peer_files(setup, folder, samples)
        places = [f"--dataroot={folder}", f"--checkpoints_dir={folder / 'checkpoints'}"]
        self.request: dict[str, object] = {
            "folder": str(self.peer),
            "arguments": [*places, "--name=bench", *settings.arguments],
            "has_gpu_ids": has_gpu_ids,
            "device": setup.world.device.type,
            "threads": setup.threads,
        }

    def __enter__(self) -> Self:
        self.printed = (self.folder / "printed.txt").open("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(peer_program.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            cwd=self.folder,
            text=True,
            encoding="utf-8",
        )
        try:
            self._ask(self.request)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def images_per_second(self, work: str) -> float:
        answer = self._ask({"work": work, "untimed": self.untimed, "timed": self.steps})
        rate = answer["images_per_second"]
        assert isinstance(rate, float)
        return rate

    def _ask(self, order: dict[str, object]) -> dict[str, object]:
        """Send a line, and return the answer to it. Raises UserError where the peer failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(order), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: object = {"error": self._last_printed()}
        if line:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = {"error": f"it printed {line.strip()!r:.100} between the answers"}
        assert isinstance(answer, dict)
        if "error" in answer:
            raise UserError(f"--peer: the code in {self.peer} failed: {answer['error']:.300}")
        return answer

    def _last_printed(self) -> str:
        """Return the last line that the peer printed before it ended."""
        self.printed.seek(0)
        lines = self.printed.read().split("\n")
        return next((line for line in reversed(lines) if line.strip()), "its process has ended")

    def _end(self) -> None:
        """End the process: its input ends, and a process that does not notice is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(_PATIENCE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.printed.close()
