"""A run: start or resume it, train, and do what is due at its marks."""

import contextlib
import re
from pathlib import Path

import torch

from gantrain import checkpoint, plan, tracking
from gantrain.assembly import Assembly
from gantrain.console import Display
from gantrain.data.loader import Raw
from gantrain.data.remote import FetchFailed
from gantrain.data.shards import DamagedSample
from gantrain.fitting import largest_micro_batch
from gantrain.journal import Journal, memory_gib
from gantrain.recipe import Recipe
from gantrain.runs import Run
from gantrain.saving import restore, save
from gantrain.schedule import rate
from gantrain.stop import StopFlag
from gantrain.validation import HeldOut


class RunStopped(Exception):
    """The run can't go on; the message says why and what to do.

    alone: only this rank knows, and has to tell.
    """

    def __init__(self, reason: str, alone: bool = False) -> None:
        super().__init__(reason)
        self.alone = alone


class Trainer:
    """Carries a run, or its stage of that number, to its end or to a signal. One of these on every rank."""

    def __init__(self, parts: Assembly, whole: Recipe, stage: int = 1) -> None:
        self.parts, self.recipe, self.world, self.whole = parts, parts.recipe, parts.world, whole
        self.is_last = stage >= len(whole.stages)
        self.stage = f", stage {stage} of {len(whole.stages)}" if whole.stages else ""
        self.images_seen = 0
        self.damaged: set[str] = set()
        self.held_out: HeldOut | None = None
        self.run: Run | None = None  # rank 0's

    def train(self) -> str:
        """Returns `finished` or `unfinished`. Raises ValueError for a user's mistake, RunStopped if it can't go on."""
        parts = self.parts
        if parts.held_out and parts.seen < parts.total:  # its weights may be lacking: before a folder is made
            self.held_out = HeldOut(parts.recipe, self.world, parts.held_out, parts.fields, parts.batch, parts.train)
        try:
            latest = self.world.on_main(self._open_run)
            state = checkpoint.state(latest) if latest else {}
            self.images_seen = state.get("images_seen", 0)
            if self.parts.began < self.images_seen <= self.parts.end:  # other stages may have other data
                self._check_data(state["fingerprint"])
            if self.images_seen >= self.parts.total:
                if self.is_last:
                    self.world.say(f"already finished: {self.images_seen} images; a larger length goes on")
                return self._end("finished")
            start = f"resuming at image {self.images_seen}" if latest else "starting a new run"
            self.world.say(start + self.stage)
            if self.recipe.micro_batch_size == "auto":
                self._choose_micro_batch(state)
            return self._run(latest)
        finally:
            if self.run:
                self.run.close()

    def _open_run(self) -> Path | None:
        self.run = Run(self.whole)
        return self.run.latest()

    def _check_data(self, fingerprint: str) -> None:
        sides = zip(("data.train", "data.train_target"), self.parts.train.sides, fingerprint.split(), strict=False)
        for key, data, before in sides:
            if before != data.fingerprint:
                raise ValueError(
                    f"{key}: {data.place} holds other data (fingerprint {data.fingerprint[:12]}) than the run was "
                    f"started with ({before[:12]}); give the same data, or run=OTHER"
                )

    def _choose_micro_batch(self, state: dict[str, int]) -> None:
        # The same world goes on with what it had: batch norm's results depend on it.
        same_world = state.get("ranks") == self.world.size
        micro = state["micro_batch_size"] if same_world else largest_micro_batch(self.parts)
        partitions = self.recipe.data.partitions
        self.parts.split = plan.split(self.recipe.batch_size, self.world.size, micro, partitions)

    def _run(self, latest: Path | None) -> str:
        """Train; whatever goes wrong is in the run's status."""
        try:
            self._set_up(latest)
            return self._end("finished" if self._loop() else "unfinished")
        except torch.OutOfMemoryError:
            raise self._failed(self._out_of_memory(), alone=True) from None
        except (DamagedSample, FetchFailed) as e:
            # From a loader's process it comes with a traceback, of which the last line is ours.
            text = str(e).splitlines()[-1].rpartition(f"{type(e).__name__}: ")[2]
            advice = "; copy or prepare the data again" if isinstance(e, DamagedSample) else ""
            raise self._failed(f"data: {text}{advice}", alone=True) from None
        except RunStopped as e:
            raise self._failed(str(e)) from None
        except BaseException as e:
            lost = re.search("closed by peer|reset by peer|remote process exited", str(e))  # gloo's words, NCCL's
            self._failed(f"{'another rank is gone, whose own output says why; ' * bool(lost)}{type(e).__name__}: {e}")
            raise

    def _set_up(self, latest: Path | None) -> None:
        parts, recipe = self.parts, self.recipe
        for line in parts.describe():
            self.world.say(line)
        self.engine = parts.engine()
        self.world.say(f"engine: {self.engine.turns[0].ranks}")
        if latest and self.images_seen > parts.began:  # a stage begins with optimisers of its own
            restore(self.engine, latest, parts)
        self.world.on_main(lambda: self.run.begin(self.whole, self.images_seen, parts.placed) if self.run else None)
        tracking.start(self.world.accelerator, recipe.dump(), self.images_seen)

    def _end(self, state: str) -> str:
        if self.run:
            self.run.set_status(state if self.is_last or state != "finished" else "running", self.images_seen)
        ranks = self.world.gather((self.damaged, self.held_out.damaged if self.held_out else set()))
        self.damaged, held_out = (set().union(*texts) for texts in zip(*ranks, strict=True))
        for what, damaged in [("replaced by others", self.damaged), ("left out", held_out)]:
            if damaged:
                self.world.say(f"damaged samples that were {what}: {len(damaged)}")
            for text in sorted(damaged):
                self.world.say(f"  {text}")
        for tracker in self.world.accelerator.trackers:  # end_training would end the ranks' group too
            tracker.finish()
        return state

    def _failed(self, reason: str, alone: bool = False) -> RunStopped:
        if self.run:
            with contextlib.suppress(OSError):  # a full disk may be the reason
                self.run.set_status("failed", self.images_seen, reason)
        return RunStopped(reason, alone)

    def _out_of_memory(self) -> str:
        micro = self.parts.split.micro_batch_size
        smaller = [d for d in plan.divisors(self.parts.split.local) if d < micro]
        advice = f"micro_batch_size={smaller[0]}, or auto" if smaller else "a smaller data.size"
        return f"out of memory with {micro} images a backward; try {advice}"

    def _loop(self) -> bool:
        """Train to the end, or until a signal; returns whether the end was reached."""
        parts, recipe = self.parts, self.recipe
        display = Display(self.images_seen, parts.total, not self.world.is_main)
        with StopFlag(recipe.stop_signal) as stop, display:
            self.journal = Journal(self.world, self.run, display, parts.epoch, self.images_seen)
            batches = parts.loader(self.images_seen, parts.total, parts.workers())
            ahead = parts.prefetch(self.images_seen)
            try:
                while self.images_seen < parts.total and not stop.agreed:
                    with self.journal.waiting():
                        raw: Raw = next(batches)
                    self._step(raw)
                    for stream in ahead:
                        stream.position = self.images_seen
                    stop.poll()
                    display.advance(self.images_seen)
                    self._marks(stop.agreed and self.images_seen < parts.total)
            finally:
                for stream in ahead:
                    stream.close()
                del batches  # ends its processes, which an exception would keep
        if stop.agreed:
            self.world.say(f"stopped by a signal at image {self.images_seen}; the same command goes on")
        return self.images_seen >= parts.total

    def _step(self, raw: Raw) -> None:
        self.damaged.update(raw.damaged)
        batches, contexts = self.parts.micro_batches(raw, self.images_seen)
        self.rates = self._rates()
        self.engine.step(batches, contexts, self.rates)
        self.images_seen += self.recipe.batch_size

    def _rates(self) -> dict[str, float]:
        """The learning rate of each phase."""
        schedule = self.recipe.schedule
        warmup = self.parts.images(schedule.warmup) if schedule.warmup else 0
        seen, total = (images - self.parts.began for images in (self.images_seen, self.parts.total))
        factor = rate(schedule.name, seen, total, schedule.decay, warmup)
        return {name: settings.lr * factor for name, settings in self.parts.settings.items()}

    def _due(self, every: int | str) -> bool:
        """Whether this step crossed a multiple of `every`, or ended the run."""
        mark, before = self.parts.images(every), self.images_seen - self.recipe.batch_size
        return self.images_seen // mark > before // mark or self.images_seen >= self.parts.total

    def _marks(self, leaving: bool) -> None:
        """What is due after a step; a run that was told to leave only saves."""
        recipe, journal, held_out = self.recipe, self.journal, None if leaving else self.held_out
        metrics: dict[str, float] = {}
        if self._due(recipe.log_every):
            self._log()
        with journal.pause():
            if held_out and self._due(recipe.evaluate.every):
                records = held_out.metrics(self.engine.ema.refresh())
                metrics = {r.name: r.value for r in records if r.value is not None}
                nulls = {f"{r.name}_null": r.null for r in records if r.null is not None}
                journal.record(self.images_seen, {f"val_{k}": v for k, v in {**metrics, **nulls}.items()})
            if held_out and self._due(recipe.previews.every) and self.world.is_main:
                sheet = held_out.preview(self.engine.ema.refresh(), recipe.previews.samples)
                journal.preview(self.images_seen, sheet)
            # The best checkpoints can only be chosen among saved ones.
            best = bool(metrics) and recipe.checkpoint.best > 0
            if leaving or best or self._due(recipe.checkpoint.every):
                self._save(metrics, last=leaving or self.images_seen >= self.parts.total)

    def _save(self, metrics: dict[str, float], last: bool) -> None:
        problem = save(self.run, self.parts, self.engine, self.images_seen, metrics)
        if problem and last:
            raise RunStopped(problem)
        if problem:
            self.world.say(f"{problem}; training goes on")

    def _log(self) -> None:
        """The only place where the host reads what the device has added up."""
        engine, rates = self.engine, self.rates
        same = len(set(rates.values())) == 1
        values = {
            **self.journal.speed(self.images_seen),
            **engine.meters.means(),
            **({"lr": max(rates.values())} if same else {f"lr_{n}": r for n, r in rates.items()}),
            "memory_gib": memory_gib(self.world.device),
        }
        nonfinite, in_a_row = engine.read_nonfinite()
        self.damaged = {text for texts in self.world.gather(self.damaged) for text in texts}
        if nonfinite:
            values["nonfinite_steps"] = nonfinite
        if self.damaged:
            values["damaged_samples"] = len(self.damaged)
        self.journal.record(self.images_seen, values)
        if in_a_row >= self.recipe.max_nonfinite:
            latest = self.world.on_main(lambda: self.run.latest() if self.run else None)
            raise RunStopped(
                f"{in_a_row} updates in a row were not finite; the last good checkpoint is "
                f"{latest}. Try a lower optimizer.lr, optimizer.clip=1, or precision=fp32"
            )
        limit = self.recipe.data.max_bad_fraction
        if len(self.damaged) > limit * self.parts.epoch:
            raise RunStopped(
                f"data.train: {len(self.damaged)} of {self.parts.epoch} samples are damaged, more "
                f"than data.max_bad_fraction={limit} allows, such as: {min(self.damaged)}"
            )
