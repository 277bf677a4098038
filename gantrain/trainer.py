"""A run: start or resume it, train, and do what is due at its marks."""

import contextlib
import datetime
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gantrain import checkpoint, plan, tracking
from gantrain.assembly import ROLES, Assembly
from gantrain.console import Display, say
from gantrain.data.batch import normalise
from gantrain.data.loader import Raw, training_loader
from gantrain.data.shards import DamagedSample
from gantrain.fitting import largest_micro_batch
from gantrain.images import save_png
from gantrain.method import Batch, Context
from gantrain.runs import Run
from gantrain.saving import restore, snapshot
from gantrain.schedule import rate
from gantrain.stop import StopFlag
from gantrain.validation import LARGER_IS_BETTER, HeldOut


class RunStopped(Exception):
    """The run can't go on; the message says why and what to do."""


class Trainer:
    """Carries an assembled run to its end, or to a signal. One of these on every rank."""

    def __init__(self, parts: Assembly) -> None:
        self.parts, self.recipe, self.world = parts, parts.recipe, parts.world
        self.images_seen = 0
        self.metrics: dict[str, float] = {}
        self.damaged: set[str] = set()
        self.run: Run | None = None  # rank 0's

    # -- the run's life ------------------------------------------------------------------------

    def train(self) -> str:
        """Returns the run's state, `finished` or `unfinished`.

        Raises ValueError for a user's mistake and RunStopped where training can't go on.
        """
        try:
            return self._train()
        finally:
            if self.run:
                self.run.close()

    def _train(self) -> str:
        latest = self.world.on_main(self._open_run)
        self.state = checkpoint.state(latest) if latest else {}
        self.images_seen = self.state.get("images_seen", 0)
        self._check_state()
        if self.images_seen >= self.parts.total:
            self._say(f"already finished: {self.images_seen} images; a larger length goes on")
            return self._end("finished")
        self._say(f"resuming at image {self.images_seen}" if latest else "starting a new run")
        try:
            self._set_up(latest)
            return self._end("finished" if self._loop() else "unfinished")
        except torch.OutOfMemoryError:
            raise self._failed(self._out_of_memory()) from None
        except DamagedSample as e:
            # From a loader's process it comes with a traceback, of which the last line is ours.
            text = str(e).splitlines()[-1].rpartition("DamagedSample: ")[2]
            raise self._failed(f"data: {text}; copy or prepare the data again") from None
        except RunStopped as e:
            raise self._failed(str(e)) from None
        except BaseException as e:
            self._failed(f"{type(e).__name__}: {e}")
            raise

    def _open_run(self) -> Path | None:
        self.run = Run(self.recipe)
        return self.run.latest()

    def _check_state(self) -> None:
        found = self.state.get("fingerprint", self.parts.train.fingerprint)
        if found != self.parts.train.fingerprint:
            raise ValueError(
                f"data.train: {self.parts.train.folder} holds other data (fingerprint "
                f"{self.parts.train.fingerprint[:12]}) than the run was started with ({found[:12]}); "
                "give the same data, or run=OTHER"
            )
        auto = self.recipe.micro_batch_size == "auto"
        if auto and self.state.get("ranks") == self.world.size:
            self.parts.split = plan.split(
                self.recipe.batch_size, self.world.size, self.state["micro_batch_size"]
            )
        elif auto:
            micro = largest_micro_batch(self.parts)
            self.parts.split = plan.split(self.recipe.batch_size, self.world.size, micro)

    def _set_up(self, latest: Path | None) -> None:
        parts, recipe = self.parts, self.recipe
        for line in parts.describe():
            self._say(line)
        self.engine = parts.engine()
        if latest:
            restore(self.engine, latest, self.world, parts.split.slots(self.world.rank))
        self.held_out = None
        if parts.held_out is not None:
            self.held_out = HeldOut(
                parts.held_out, parts.view(training=False), parts.fields, parts.names,
                recipe.test_time, recipe.seed, self.world.device, parts.dtype,
            )  # fmt: skip
        if self.run:
            self.run.begin(recipe, self.images_seen)
        tracking.start(self.world.accelerator, recipe.dump(), self.images_seen)

    def _end(self, state: str) -> str:
        if self.run:
            self.run.set_status(state, self.images_seen)
            if self.damaged:
                say(f"{len(self.damaged)} damaged samples were replaced by others:")
                for text in sorted(self.damaged):
                    say(f"  {text}")
        self.world.accelerator.end_training()
        return state

    def _failed(self, reason: str) -> RunStopped:
        if self.run:
            self.run.set_status("failed", self.images_seen, reason)
        return RunStopped(reason)

    def _out_of_memory(self) -> str:
        micro = self.parts.split.micro_batch_size
        smaller = [d for d in plan.divisors(self.parts.split.local) if d < micro]
        advice = f"micro_batch_size={smaller[0]}, or auto" if smaller else "a smaller data.size"
        return f"out of memory with {micro} images a backward; try {advice} (the results stay the same)"

    # -- the loop ------------------------------------------------------------------------------

    def _loop(self) -> bool:
        """Train to the end, or until a signal; returns whether the end was reached."""
        parts, recipe = self.parts, self.recipe
        loader = training_loader(
            parts.train, parts.view(training=True), seed=recipe.seed, start=self.images_seen,
            stop=parts.total, batch_size=recipe.batch_size, slots=parts.split.slots(self.world.rank), workers=parts.workers(), pin=self.world.device.type == "cuda",
        )  # fmt: skip
        stop = StopFlag(recipe.stop_signal)
        self.clock, self.waited, self.logged = time.perf_counter(), 0.0, self.images_seen
        with Display(self.images_seen, parts.total, not self.world.is_main) as self.display:
            batches, before = iter(loader), time.perf_counter()
            for raw in batches:
                self.waited += time.perf_counter() - before
                self._step(raw)
                leaving = stop.poll()
                self._marks(leaving)
                if leaving:
                    self._say(
                        f"stopped by a signal at image {self.images_seen}; the same command goes on"
                    )
                    return self.images_seen >= parts.total
                before = time.perf_counter()
        return True

    def _step(self, raw: Raw) -> None:
        parts, split, seen = self.parts, self.parts.split, self.images_seen
        self.damaged.update(raw.damaged)
        batches, contexts = [], []
        for start in range(0, split.local, split.micro_batch_size):
            piece = slice(start, start + split.micro_batch_size)
            batches.append(self._batch(raw, piece))
            contexts.append(Context(self.recipe.seed, seen, split.batch_size, raw.positions[piece]))
        schedule = self.recipe.schedule
        warmup = parts.images(schedule.warmup) if schedule.warmup else 0
        factor = rate(schedule.name, seen, parts.total, schedule.decay, warmup)
        rates = {name: settings.lr * factor for name, settings in parts.settings.items()}
        self.engine.step(batches, contexts, rates)
        self.rates = rates
        self.images_seen += split.batch_size
        self.display.advance(self.images_seen)

    def _batch(self, raw: Raw, piece: slice) -> Batch:
        parts = self.parts
        return {
            role: normalise(
                raw.fields[parts.names[role]][piece],
                parts.fields[role],
                parts.dtype,
                self.world.device,
            )
            for role in ROLES
        }

    def _due(self, every: int | str) -> bool:
        """Whether this step crossed a multiple of `every`, or ended the run."""
        mark, before = self.parts.images(every), self.images_seen - self.recipe.batch_size
        return self.images_seen // mark > before // mark or self.images_seen >= self.parts.total

    def _marks(self, leaving: bool) -> None:
        recipe = self.recipe
        if self._due(recipe.log_every):
            self._log()
        self.metrics = {}
        if self.held_out and self._due(recipe.evaluate.every) and not leaving:
            self._evaluate(self.held_out)
        if (
            self.held_out
            and self.world.is_main
            and self._due(recipe.previews.every)
            and not leaving
        ):
            picture = self.held_out.preview(self.engine.ema.refresh(), recipe.previews.samples)
            assert self.run
            save_png(picture, self.run.folder / "previews" / f"{self.images_seen:09d}.png")
            tracking.log_preview(self.world.accelerator, picture, self.images_seen)
        # The best checkpoints can only be chosen among saved ones.
        best = bool(self.metrics) and recipe.checkpoint.best > 0
        if leaving or best or self._due(recipe.checkpoint.every):
            self._save()

    def _log(self) -> None:
        """One reduction, one host read: everything that this log point has to know."""
        engine, now = self.engine, time.perf_counter()
        means = engine.meters.means()
        nonfinite, worst = int(engine.nonfinite), int(engine.worst)
        engine.worst.zero_()
        everyones = self.world.gather(sorted(self.damaged))
        self.damaged.update(text for texts in everyones for text in texts)
        images, seconds = self.images_seen - self.logged, now - self.clock
        values = {
            "images_per_second": images / seconds,
            "data_wait": self.waited / seconds,
            **means,
            **{f"lr_{name}": value for name, value in self.rates.items()},
            "memory_gib": _memory_gib(self.world.device),
        }
        if nonfinite:
            values["nonfinite_steps"] = nonfinite
        if self.damaged:
            values["damaged_samples"] = len(self.damaged)
        self._record(values)
        self.clock, self.waited, self.logged = time.perf_counter(), 0.0, self.images_seen
        if worst >= self.recipe.max_nonfinite:
            latest = self.world.on_main(lambda: self.run.latest() if self.run else None)
            raise RunStopped(
                f"{worst} updates in a row were not finite; the last good checkpoint is {latest}. "
                "Try a lower optimizer.lr, optimizer.clip=1, or precision=fp32"
            )
        if len(self.damaged) > self.recipe.data.max_bad_fraction * self.parts.epoch:
            raise RunStopped(
                f"data.train: {len(self.damaged)} of {self.parts.epoch} samples are damaged, more than "
                f"data.max_bad_fraction={self.recipe.data.max_bad_fraction} allows, such as: {min(self.damaged)}"
            )

    def _evaluate(self, held_out: HeldOut) -> None:
        with _clock_paused(self):
            method = self.engine.ema.refresh()
            most = self.recipe.evaluate.max_samples
            self.metrics = held_out.metrics(method, self.world.rank, self.world.size, most)
        self._record({f"val_{name}": value for name, value in self.metrics.items()})

    def _record(self, values: dict[str, float]) -> None:
        self.display.show(self.images_seen, values)
        self.world.accelerator.log(values, step=self.images_seen)
        if self.run:
            now = datetime.datetime.now().isoformat(timespec="seconds")
            epoch = round(self.images_seen / self.parts.epoch, 4)
            self.run.log({"images_seen": self.images_seen, "epoch": epoch, "time": now, **values})

    def _save(self) -> None:
        with _clock_paused(self):
            tensors = snapshot(self.engine, self.world)
            if self.run:
                state = {
                    "images_seen": self.images_seen,
                    "fingerprint": self.parts.train.fingerprint,
                    "ranks": self.world.size,
                    "micro_batch_size": self.parts.split.micro_batch_size,
                    "metrics": self.metrics,
                    "facts": self.parts.facts,
                    "fields": {
                        r: json.loads(f.model_dump_json()) for r, f in self.parts.fields.items()
                    },
                    "versions": {"torch": torch.__version__, "python": sys.version.split()[0]},
                }
                checkpoint.save(self.run.checkpoints, self.recipe.yaml(), tensors, state)
                kept, metric = self.recipe.checkpoint, self.recipe.evaluate.best_by
                largest = LARGER_IS_BETTER[metric]
                checkpoint.prune(self.run.checkpoints, kept.keep, kept.best, metric, largest)

    def _say(self, text: str) -> None:
        if self.world.is_main:
            say(text)


@contextlib.contextmanager
def _clock_paused(trainer: Trainer) -> Any:
    """Leave evaluation and saving out of images per second."""
    before = time.perf_counter()
    yield
    trainer.clock += time.perf_counter() - before


def _memory_gib(device: torch.device) -> float:
    """The peak of the GPU's memory, or of the process where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 2**10 if sys.platform == "linux" else 1  # ru_maxrss is in KiB there, bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
