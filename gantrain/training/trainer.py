"""The training of one stage of a run: the steps, and the work that is scheduled between them."""

import contextlib
import traceback
from pathlib import Path

from gantrain.core.console import Display
from gantrain.core.errors import RunStopped, because_of_damage, because_of_nonfinite
from gantrain.core.world import describe_lost_rank
from gantrain.data.loader import RawBatch
from gantrain.evaluation.held_out import HeldOut
from gantrain.recipe.schema import Recipe
from gantrain.runs.checkpoint_state import State
from gantrain.runs.run_folder import Run
from gantrain.runs.run_logger import RunLogger, describe_damaged, memory_gib
from gantrain.runs.trackers import Trackers
from gantrain.training import precision
from gantrain.training.failures import stop_for
from gantrain.training.previews import Previews
from gantrain.training.resuming import describe_changes
from gantrain.training.setup import RunSetup
from gantrain.training.setup_description import describe_setup
from gantrain.training.stop_signal import StopFlag
from gantrain.training.train_state import Mark, link_best, restore, save


class Trainer:
    """Trains the networks of a stage to its end or to a signal. Every rank has one.

    run_recipe: the recipe of the whole run. run: its folder, on rank 0 alone. held_out: the set
    that is measured, or None. finished_status: the run's status at the end of the stage.
    """

    def __init__(
        self,
        setup: RunSetup,
        run_recipe: Recipe,
        *,
        run: Run | None,
        trackers: Trackers,
        held_out: HeldOut | None,
        finished_status: str,
    ) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.world = setup.world
        self.run_recipe = run_recipe
        self.run = run
        self.trackers = trackers
        self.held_out = held_out
        self.finished_status = finished_status
        self.images_seen = 0
        self.keeps_forward = False
        self.damaged: set[str] = set()
        self.previews: Previews | None = None
        # The checkpoint at which a signal put off an evaluation or a preview.
        self.postponed_at: Path | None = None

    def train(self, latest: Path | None, state: State | None) -> bool:
        """Train from the latest checkpoint on; return whether the end of the stage was reached.

        The run's status holds the reason of any failure. Raises RunStopped where the run cannot
        go on.
        """
        if state:
            self.images_seen = state.images_seen
        try:
            self._set_up(latest, state)
            is_finished = self._loop()
            self._end(is_finished)
            return is_finished
        except BaseException as error:
            stop = stop_for(error, self.setup.data.split, self.keeps_forward)
            if stop is None:
                self._record_failure(f"{describe_lost_rank(error)}{type(error).__name__}: {error}")
                raise
            # The frames hold the loader. Freed later, as a part of a cycle, it would wait for its
            # processes in vain.
            traceback.clear_frames(error.__traceback__)
            self._record_failure(str(stop))
            raise stop from None

    def _record_failure(self, reason: str) -> None:
        if self.run:
            with contextlib.suppress(OSError):  # a full disk may be the reason
                self.run.set_status("failed", self.images_seen, reason)

    def _set_up(self, latest: Path | None, state: State | None) -> None:
        """Make the engine, and restore its state from the latest checkpoint of this stage."""
        setup = self.setup
        for line in describe_setup(setup):
            self.world.say(line)
        self.previews = Previews(setup)
        self.engine = setup.engine()
        self.keeps_forward = self.engine.may_keep_forward and setup.data.split.accumulation == 1
        self.world.say(f"engine: {self.engine.phases[0].parallel}")
        # A stage begins with optimisers of its own.
        if latest and state and self.images_seen > setup.stage_start:
            restore(self.engine, latest, setup, state.progress)
            self.damaged = set(state.progress.damaged)
            self.postponed_at = latest if state.left_marks else None
            for line in describe_changes(state, setup):
                self.world.say(line)
        self.world.broadcast_from_rank0(self._begin)
        self.world.broadcast_from_rank0(lambda: self.trackers.start(self.images_seen))

    def _begin(self) -> None:
        """Write the start into the run's folder."""
        if self.run:
            lines = self.setup.init_from_lines
            self.run.begin(self.run_recipe, self.images_seen, lines, bool(self.postponed_at))
            precision.record_choice(self.run.folder, self.setup.precision_choice)
        self._link_best()

    def _link_best(self) -> None:
        """Renew the link to the best checkpoint, which a killed run may have left behind."""
        if self.run:
            link_best(self.run, self.setup)

    def _end(self, is_finished: bool) -> None:
        """Write the end into the run's status, and report damaged samples."""
        if self.run:
            status = self.finished_status if is_finished else "unfinished"
            self.run.set_status(status, self.images_seen)
        self.damaged = self.world.gather_texts(self.damaged)
        left_out = self.world.gather_texts(self._left_out())
        for line in describe_damaged(replaced=self.damaged, left_out=left_out):
            self.world.say(line)

    def _left_out(self) -> set[str]:
        """Return the damaged samples that evaluations and previews of this rank left out.

        Each is a text.
        """
        texts = set(self.held_out.damaged) if self.held_out else set()
        if self.previews and self.previews.label != "training":  # training counts its own
            texts |= self.previews.damaged
        return texts

    def _loop(self) -> bool:
        """Train to the end, or until a signal; return whether the end was reached."""
        setup = self.setup
        data = setup.data
        display = Display(self.images_seen, setup.total, data.epoch, not self.world.is_main)
        with StopFlag(self.recipe.stop_signal) as stop, display:
            self.logger = RunLogger(
                self.trackers, self.run, display, epoch=data.epoch, images_seen=self.images_seen
            )
            batches = data.loader(self.images_seen, setup.total, data.workers(setup.threads))
            # After the loader, whose processes must not be forked in the middle of a fetch.
            prefetches = data.prefetch(self.images_seen, setup.total)
            try:
                self._catch_up()
                while self.images_seen < setup.total and not stop.agreed:
                    with self.logger.waiting():
                        raw: RawBatch = next(batches)
                    self._step(raw)
                    for prefetch in prefetches:
                        prefetch.position = self.images_seen
                    stop.poll()
                    display.advance(self.images_seen)
                    self._run_scheduled_work(stop.agreed and self.images_seen < setup.total)
                    if self.trackers.problem:
                        stop.request()
            finally:
                for prefetch in prefetches:
                    prefetch.close()
                del batches  # ends its processes, which an exception would keep
        self._check_trackers()
        if stop.agreed:
            self.world.say(
                f"stopped by a signal at image {self.images_seen:,} of {setup.total:,}, and saved"
            )
        return self.images_seen >= setup.total

    def _step(self, raw: RawBatch) -> None:
        self.damaged.update(raw.damaged)
        batches, contexts = self.setup.micro_batches(raw, self.images_seen)
        self.rates = self.setup.rates(self.images_seen)
        self.engine.step(batches, contexts, self.rates)
        self.images_seen += self.recipe.batch_size

    def _check_trackers(self) -> None:
        """Raise RunStopped on all ranks where a tracker's failure stops the run early."""
        problem = self.world.gather(self.trackers.problem)[0]
        if problem and self.images_seen < self.setup.total:
            saved = f"the run is saved at image {self.images_seen}, and the same command goes on"
            raise RunStopped(
                f"{problem}; {saved}; tracker_failure=continue trains without a tracker that fails"
            )
        if problem:
            self.world.say(problem)

    def _is_due(self, every: int | str) -> bool:
        """Return whether this step crossed a multiple of `every`, or ended the run."""
        interval = self.setup.data.images(every)
        before = self.images_seen - self.recipe.batch_size
        crossed = self.images_seen // interval > before // interval
        return crossed or self.images_seen >= self.setup.total

    def _run_scheduled_work(self, is_stopping: bool) -> None:
        """Log, evaluate and save where this is due after a step; a stopping run does not evaluate.

        A stopping run always saves.
        """
        if self._is_due(self.recipe.log_every):
            self._log()
        with self.logger.pause():
            metrics: dict[str, float] = {}
            if not is_stopping:
                metrics = self._evaluate()
            # The best checkpoints can only be chosen among saved ones.
            may_be_best = bool(metrics) and self.recipe.checkpoint.best > 0
            if is_stopping or may_be_best or self._is_due(self.recipe.checkpoint.every):
                self._save(metrics, is_stopping)

    def _evaluate(self) -> dict[str, float]:
        """Evaluate and draw previews where this is due; return the metrics."""
        metrics: dict[str, float] = {}
        if self.held_out and self._is_due(self.recipe.evaluate.every):
            nulls: dict[str, float] = {}
            for record in self.held_out.metrics(self.engine.ema.refresh()):
                if record.value is not None:
                    metrics[record.name] = record.value
                if record.null is not None:
                    nulls[f"{record.name}_null"] = record.null
            row = {f"val_{name}": value for name, value in {**metrics, **nulls}.items()}
            self.logger.record(self.images_seen, row)
        if self.previews and self._is_due(self.recipe.previews.every) and self.world.is_main:
            picture = self.previews.draw(self.engine.ema.refresh())
            if picture is not None:
                self.logger.preview(self.images_seen, picture, self.previews.label)
        return metrics

    def _catch_up(self) -> None:
        """Make the evaluation that a signal put off.

        The run then has the rows of a run that was never stopped.
        """
        if self.postponed_at:
            with self.logger.pause():
                metrics = self._evaluate()
            if self.run:
                self.run.add_metrics(self.postponed_at, metrics)
            self._link_best()

    def _save(self, metrics: dict[str, float], is_stopping: bool) -> None:
        is_evaluation_due = self.held_out is not None and self._is_due(self.recipe.evaluate.every)
        is_preview_due = self._is_due(self.recipe.previews.every)
        mark = Mark(
            images_seen=self.images_seen,
            metrics=metrics,
            rates=self.rates,
            damaged=self.damaged,
            left_marks=is_stopping and (is_evaluation_due or is_preview_due),
        )
        problem = save(self.run, self.setup, self.engine, mark)
        if problem and (is_stopping or self.images_seen >= self.setup.total):
            raise RunStopped(problem)
        if problem:
            self.world.say(f"{problem}; training goes on")

    def _log(self) -> None:
        """Write a row of the log; only here the host reads what the device has added up."""
        values = {**self.logger.speed(self.images_seen), **self.engine.meters.means()}
        if len(set(self.rates.values())) == 1:
            values["lr"] = max(self.rates.values())
        else:
            values |= {f"lr_{phase}": rate for phase, rate in self.rates.items()}
        values["memory_gib"] = memory_gib(self.world.device)
        nonfinite, in_a_row = self.engine.read_nonfinite()
        self.damaged = self.world.gather_texts(self.damaged)
        if nonfinite:
            values["nonfinite_steps"] = nonfinite
        if self.damaged:
            values["damaged_samples"] = len(self.damaged)
        self.logger.record(self.images_seen, values)
        self._check_limits(in_a_row)

    def _check_limits(self, nonfinite_in_a_row: int) -> None:
        """Raise RunStopped where too many updates were not finite, or too many samples damaged."""
        if nonfinite_in_a_row >= self.recipe.max_nonfinite:
            latest = self.world.broadcast_from_rank0(
                lambda: self.run.latest() if self.run else None
            )
            raise because_of_nonfinite(nonfinite_in_a_row, latest)
        limit = self.recipe.data.max_bad_fraction
        epoch = self.setup.data.epoch
        if len(self.damaged) > limit * epoch:
            raise because_of_damage(self.damaged, epoch, limit)
