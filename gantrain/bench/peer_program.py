"""The process that runs a checkout of pytorch-CycleGAN-and-pix2pix for `gantrain bench --peer`.

It is started by its path and imports nothing of gantrain. It builds the checkout's own loader and
model by the checkout's own options, and measures them when a line on its standard input asks for
it. Each line of both pipes is a JSON object. What the checkout itself prints goes to standard
error.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch


class Peer:
    """The checkout's loader and model. request: the first line of the input."""

    def __init__(self, request: dict[str, Any]) -> None:
        sys.path[0] = request["folder"]  # instead of the folder of this file
        sys.argv = ["train.py", *request["arguments"]]
        torch.set_num_threads(request["threads"])
        self.device = torch.device(request["device"])
        options = importlib.import_module("options.train_options")
        opt = options.TrainOptions().parse()
        if not request["has_gpu_ids"]:  # newer versions take a device instead
            opt.device = self.device
        self.batch_size = int(opt.batch_size)
        self.dataset = importlib.import_module("data").create_dataset(opt)
        self.model = importlib.import_module("models").create_model(opt)
        self.model.setup(opt)
        self.batch = next(self.batches())
        self.train(self.batch)

    def batches(self) -> Iterator[Any]:
        """Start the loader; return its batches."""
        return iter(self.dataset)

    def train(self, batch: Any) -> None:
        """Run a step, as train.py does."""
        self.model.set_input(batch)
        self.model.optimize_parameters()

    def move(self, batch: Any) -> None:
        """Move the images to the device."""
        for value in batch.values():
            if isinstance(value, torch.Tensor):
                value.to(self.device)

    def settle(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, work: str, untimed: int, timed: int) -> float:
        """Return the images a second. untimed: batches that come before the clock starts."""
        use = self.move if work == "loader" else self.train
        batches: Iterator[Any] = iter([self.batch] * timed)
        if work != "step":
            batches = self.batches()
            for _ in range(untimed):
                next(batches)
        self.settle()
        start = time.perf_counter()
        for _ in range(timed):
            use(next(batches))
        self.settle()
        return timed * self.batch_size / (time.perf_counter() - start)


def main() -> None:
    """Answer the lines of standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the checkout prints must not stand between the answers

    def answer(**content: object) -> None:
        print(json.dumps(content), file=answers)

    try:
        peer = Peer(json.loads(sys.stdin.readline()))
        answer(is_ready=True)
        for line in sys.stdin:
            order = json.loads(line)
            rate = peer.measure(order["work"], order["untimed"], order["timed"])
            answer(images_per_second=rate)
    except StopIteration:
        answer(error="its loader has too few batches")
    except Exception as error:
        text = " ".join(str(error).split())
        answer(error=f"{type(error).__name__}: {text}")


if __name__ == "__main__":
    main()
