"""A run: start or resume it, train, and do what is due at its marks."""

import contextlib
import traceback
from pathlib import Path

from gantrain.core.amounts import count_text
from gantrain.core.console import Display
from gantrain.core.errors import RunStopped, because_of_damage, because_of_nonfinite
from gantrain.core.extensions import check_imported
from gantrain.core.out_of_memory import OutOfMemory, is_out_of_memory
from gantrain.core.world import describe_lost_rank
from gantrain.data.loader import RawBatch
from gantrain.data.remote import FetchFailed
from gantrain.data.shards import DamagedSample
from gantrain.evaluation.held_out import HeldOut
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint, run_summary
from gantrain.runs.checkpoint_state import State
from gantrain.runs.finished_run import report_finished
from gantrain.runs.run_folder import Run
from gantrain.runs.run_logger import Journal, describe_damaged, memory_gib
from gantrain.runs.trackers import Trackers
from gantrain.training import batch_split, precision
from gantrain.training.auto_micro_batch import describe_out_of_memory, largest_micro_batch
from gantrain.training.previews import Previews
from gantrain.training.resuming import check_data, describe_changes
from gantrain.training.setup import Assembly
from gantrain.training.stop_signal import StopFlag
from gantrain.training.train_state import Mark, link_best, restore, save
from gantrain.training.trial import try_method


class Trainer:
    """Carries a run, or its stage of that number, to its end or to a signal. One of these on
    every rank.
    """

    def __init__(self, parts: Assembly, whole: Recipe, stage: int = 1) -> None:
        self.parts, self.recipe, self.world, self.whole = parts, parts.recipe, parts.world, whole
        self.is_last = stage >= len(whole.stages)
        self.stage = f", stage {stage} of {len(whole.stages)}" if whole.stages else ""
        self.images_seen = 0
        self.damaged: set[str] = set()
        self.held_out: HeldOut | None = None
        self.previews: Previews | None = None
        self.run: Run | None = None  # rank 0's
        self.trackers = Trackers(parts.recipe, parts.world.is_main)
        self.left_marks: Path | None = None  # a checkpoint at which a signal put an evaluation off

    def train(self) -> str:
        """Returns `finished` or `unfinished`. Raises ValueError for a user's mistake, RunStopped
        if it can't go on.
        """
        parts = self.parts
        if parts.seen < parts.total:
            try_method(parts)
        if (
            parts.held_out and parts.seen < parts.total
        ):  # its weights may be lacking: before a folder is made
            self.held_out = HeldOut(
                parts.recipe, self.world, parts.held_out, parts.fields, parts.batch, parts.train
            )
        try:
            latest = self.world.broadcast_from_rank0(self._open_run)
            state = checkpoint.state(latest) if latest else None
            self.images_seen = state.images_seen if state else 0
            if state and latest:
                check_imported(state.modules, latest)
            if (
                state and self.parts.began < self.images_seen <= self.parts.end
            ):  # other stages may have other data
                check_data(self.parts, state.fingerprint)
            if self.images_seen >= self.parts.total:
                if self.is_last:
                    progress = count_text(self.images_seen, "image")
                    length = f"{self.parts.total - self.parts.began:,}"
                    self.world.say(
                        f"already finished: trained on {progress}, of a length of {length}"
                    )
                    if self.run and latest:
                        self.whole = report_finished(self.run, self.whole, latest, self.world.say)
                ended = self._end("finished")
                if self.is_last:
                    self._say_results(
                        run_summary.describe_going_on(
                            self.whole, self.images_seen, self.parts.epoch
                        )
                    )
                return ended
            start = f"resuming at image {self.images_seen}" if latest else "starting a new run"
            self.world.say(start + self.stage)
            self.world.say(f"run: {self.whole.folder}")
            if self.recipe.micro_batch_size == "auto":
                self._choose_micro_batch(state)
            ended = self._run(latest, state)
            if ended == "unfinished":
                self._say_results(run_summary.describe_resuming())
            elif self.is_last:
                self.world.say(f"finished: trained on {count_text(self.images_seen, 'image')}")
                self._say_results([])
            return ended
        finally:
            self.trackers.finish()
            if self.run:
                self.run.close()

    def _open_run(self) -> Path | None:
        self.run = Run(self.whole)
        return self.run.latest()

    def _choose_micro_batch(self, state: State | None) -> None:
        # The same world goes on with what it had: batch norm's results depend on it.
        same_world = state is not None and state.ranks == self.world.size
        micro = state.micro_batch_size if state and same_world else largest_micro_batch(self.parts)
        partitions = self.recipe.data.partitions
        self.parts.split = batch_split.split(
            self.recipe.batch_size, self.world.size, micro, partitions
        )

    def _run(self, latest: Path | None, state: State | None) -> str:
        """Train; whatever goes wrong is in the run's status."""
        try:
            self._set_up(latest, state)
            return self._end("finished" if self._loop() else "unfinished")
        except OutOfMemory as e:  # of the evaluation, which names the sample
            raise self._failed(_own_line(e), alone=True) from None
        except (DamagedSample, FetchFailed) as e:
            # The frames hold the loader. Freed later, as a part of a cycle, it would wait for its
            # processes in vain.
            traceback.clear_frames(e.__traceback__)
            advice = "; copy or prepare the data again" if isinstance(e, DamagedSample) else ""
            raise self._failed(f"data: {_own_line(e)}{advice}", alone=True) from None
        except RunStopped as e:
            raise self._failed(str(e)) from None
        except BaseException as e:
            if is_out_of_memory(e):
                raise self._failed(describe_out_of_memory(self.parts.split), alone=True) from None
            self._failed(f"{describe_lost_rank(e)}{type(e).__name__}: {e}")
            raise

    def _set_up(self, latest: Path | None, state: State | None) -> None:
        parts = self.parts
        for line in parts.describe():
            self.world.say(line)
        self.previews = Previews(parts)
        self.engine = parts.engine()
        self.world.say(f"engine: {self.engine.phases[0].parallel}")
        if (
            latest and state and self.images_seen > parts.began
        ):  # a stage begins with optimisers of its own
            restore(self.engine, latest, parts, state.progress)
            self.damaged = set(state.progress.damaged)
            self.left_marks = latest if state.left_marks else None
            for line in describe_changes(state, parts):
                self.world.say(line)
        self.world.broadcast_from_rank0(self._begin)
        self.world.broadcast_from_rank0(lambda: self.trackers.start(self.images_seen))

    def _begin(self) -> None:
        if self.run:
            self.run.begin(self.whole, self.images_seen, self.parts.placed, bool(self.left_marks))
            precision.record_choice(self.run.folder, self.parts.precision_choice)
        self._link_best()

    def _link_best(self) -> None:
        """A killed run may have left the link behind its checkpoints."""
        if self.run:
            link_best(self.run, self.parts)

    def _end(self, state: str) -> str:
        if self.run:
            self.run.set_status(
                state if self.is_last or state != "finished" else "running", self.images_seen
            )
        ranks = self.world.gather((self.damaged, self._left_out()))
        self.damaged, held_out = (set().union(*texts) for texts in zip(*ranks, strict=True))
        for line in describe_damaged(replaced=self.damaged, left_out=held_out):
            self.world.say(line)
        return state

    def _say_results(self, more: list[str]) -> None:
        """Print where the results are and what the user can do next. more: lines that follow."""
        if self.world.is_main:
            results = run_summary.describe_results(
                self.whole,
                has_held_out=self.parts.held_out is not None,
                has_test=self.parts.test is not None,
            )
            self.world.say_whole("\n".join(f"  {line}" for line in [*results, *more]))

    def _left_out(self) -> set[str]:
        """A text for each damaged sample that this rank left out of evaluations and previews."""
        texts = set(self.held_out.damaged) if self.held_out else set()
        if self.previews and self.previews.label != "training":  # training counts its own
            texts |= self.previews.damaged
        return texts

    def _failed(self, reason: str, alone: bool = False) -> RunStopped:
        if self.run:
            with contextlib.suppress(OSError):  # a full disk may be the reason
                self.run.set_status("failed", self.images_seen, reason)
        return RunStopped(reason, alone)

    def _loop(self) -> bool:
        """Train to the end, or until a signal; returns whether the end was reached."""
        parts, recipe = self.parts, self.recipe
        display = Display(self.images_seen, parts.total, parts.epoch, not self.world.is_main)
        with StopFlag(recipe.stop_signal) as stop, display:
            self.journal = Journal(self.trackers, self.run, display, parts.epoch, self.images_seen)
            batches = parts.loader(self.images_seen, parts.total, parts.workers())
            ahead = parts.prefetch(self.images_seen)
            try:
                self._catch_up()
                while self.images_seen < parts.total and not stop.agreed:
                    with self.journal.waiting():
                        raw: RawBatch = next(batches)
                    self._step(raw)
                    for stream in ahead:
                        stream.position = self.images_seen
                    stop.poll()
                    display.advance(self.images_seen)
                    self._run_scheduled_work(stop.agreed and self.images_seen < parts.total)
                    if self.trackers.problem:
                        stop.request()
            finally:
                for stream in ahead:
                    stream.close()
                del batches  # ends its processes, which an exception would keep
        self._check_trackers()
        if stop.agreed:
            self.world.say(
                f"stopped by a signal at image {self.images_seen:,} of {parts.total:,}, and saved"
            )
        return self.images_seen >= parts.total

    def _check_trackers(self) -> None:
        """Raise RunStopped, on all ranks, where a tracker's failure stops the run before its
        end.
        """
        problem = self.world.gather(self.trackers.problem)[0]
        if problem and self.images_seen < self.parts.total:
            saved = f"the run is saved at image {self.images_seen}, and the same command goes on"
            raise RunStopped(
                f"{problem}; {saved}; tracker_failure=continue trains without a tracker that fails"
            )
        if problem:
            self.world.say(problem)

    def _step(self, raw: RawBatch) -> None:
        self.damaged.update(raw.damaged)
        batches, contexts = self.parts.micro_batches(raw, self.images_seen)
        self.rates = self.parts.rates(self.images_seen)
        self.engine.step(batches, contexts, self.rates)
        self.images_seen += self.recipe.batch_size

    def _is_due(self, every: int | str) -> bool:
        """Return whether this step crossed a multiple of `every`, or ended the run."""
        mark, before = self.parts.images(every), self.images_seen - self.recipe.batch_size
        return self.images_seen // mark > before // mark or self.images_seen >= self.parts.total

    def _run_scheduled_work(self, leaving: bool) -> None:
        """What is due after a step; a run that was told to leave only saves."""
        if self._is_due(self.recipe.log_every):
            self._log()
        with self.journal.pause():
            metrics = {} if leaving else self._evaluate()
            # The best checkpoints can only be chosen among saved ones.
            best = bool(metrics) and self.recipe.checkpoint.best > 0
            if leaving or best or self._is_due(self.recipe.checkpoint.every):
                self._save(metrics, leaving)

    def _evaluate(self) -> dict[str, float]:
        """The evaluation and the preview, where they are due; returns the metrics."""
        recipe, journal, held_out, metrics = (
            self.recipe,
            self.journal,
            self.held_out,
            dict[str, float](),
        )
        if held_out and self._is_due(recipe.evaluate.every):
            records = held_out.metrics(self.engine.ema.refresh())
            metrics = {r.name: r.value for r in records if r.value is not None}
            nulls = {f"{r.name}_null": r.null for r in records if r.null is not None}
            journal.record(
                self.images_seen, {f"val_{k}": v for k, v in {**metrics, **nulls}.items()}
            )
        if self.previews and self._is_due(recipe.previews.every) and self.world.is_main:
            picture = self.previews.draw(self.engine.ema.refresh())
            if picture is not None:
                journal.preview(self.images_seen, picture, self.previews.label)
        return metrics

    def _catch_up(self) -> None:
        """Make the evaluation that a signal put off, so that the run has the rows of one that
        was never stopped.
        """
        if self.left_marks:
            with self.journal.pause():
                metrics = self._evaluate()
            if self.run:
                self.run.add_metrics(self.left_marks, metrics)
            self._link_best()

    def _save(self, metrics: dict[str, float], leaving: bool) -> None:
        is_evaluation_due = self.held_out is not None and self._is_due(self.recipe.evaluate.every)
        left_marks = leaving and (is_evaluation_due or self._is_due(self.recipe.previews.every))
        mark = Mark(self.images_seen, metrics, self.rates, self.damaged, left_marks)
        problem = save(self.run, self.parts, self.engine, mark)
        if problem and (leaving or self.images_seen >= self.parts.total):
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
            latest = self.world.broadcast_from_rank0(
                lambda: self.run.latest() if self.run else None
            )
            raise because_of_nonfinite(in_a_row, latest)
        limit = self.recipe.data.max_bad_fraction
        if len(self.damaged) > limit * self.parts.epoch:
            raise because_of_damage(self.damaged, self.parts.epoch, limit)


def _own_line(error: Exception) -> str:
    """The line of gantrain's own error; from a loader's process it comes with a traceback, as
    the last line.
    """
    return str(error).splitlines()[-1].rpartition(f"{type(error).__name__}: ")[2]
