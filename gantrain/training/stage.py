"""One stage of a run: start or resume it, and report its end."""

from pathlib import Path

from gantrain.core.amounts import count_text
from gantrain.core.extensions import check_imported
from gantrain.evaluation.held_out import HeldOut
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint, run_summary
from gantrain.runs.checkpoint_state import State
from gantrain.runs.finished_run import report_finished
from gantrain.runs.run_folder import Run
from gantrain.runs.trackers import Trackers
from gantrain.training import batch_split
from gantrain.training.auto_micro_batch import largest_micro_batch
from gantrain.training.resuming import check_data
from gantrain.training.setup import RunSetup
from gantrain.training.trainer import Trainer
from gantrain.training.trial import try_method


class Stage:
    """A stage of a run, or a whole run without stages. Every rank has one.

    run_recipe: the recipe of the whole run. number: the number of the stage, from 1. images_seen:
    by the whole run so far.
    """

    def __init__(self, setup: RunSetup, run_recipe: Recipe, number: int = 1) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.world = setup.world
        self.run_recipe = run_recipe
        stages = len(run_recipe.stages)
        self.is_last = number >= stages
        self.place = f", stage {number} of {stages}" if stages else ""
        # Another stage follows where this one is not the last.
        self.finished_status = "finished" if self.is_last else "running"
        self.images_seen = 0
        self.run: Run | None = None  # only on rank 0
        self.trackers = Trackers(setup.recipe, setup.world.is_main)

    def train(self) -> str:
        """Train, and return `finished` or `unfinished`.

        Raises UserError for a user's mistake, RunStopped where the run cannot go on.
        """
        held_out: HeldOut | None = None
        if self.setup.images_seen < self.setup.total:
            # Both may fail, and do so before the run has a folder.
            try_method(self.setup)
            held_out = self.setup.make_held_out()
        try:
            latest = self.world.broadcast_from_rank0(self._open_run)
            state = self._read_state(latest) if latest else None
            if self.images_seen >= self.setup.total:
                self._report_finished_before(latest)
                return "finished"
            return self._train(latest, state, held_out)
        finally:
            self.trackers.finish()
            if self.run:
                self.run.close()

    def _open_run(self) -> Path | None:
        self.run = Run(self.run_recipe)
        return self.run.latest()

    def _read_state(self, latest: Path) -> State:
        """Return the state of the latest checkpoint. Raises UserError where it does not fit."""
        state = checkpoint.state(latest)
        self.images_seen = state.images_seen
        check_imported(state.modules, latest)
        # Other stages may have other data.
        if self.setup.stage_start < self.images_seen <= self.setup.end:
            check_data(self.setup, state.fingerprint)
        return state

    def _report_finished_before(self, latest: Path | None) -> None:
        """Report a run that an earlier start has finished; say nothing of a stage before others."""
        if self.is_last:
            trained = count_text(self.images_seen, "image")
            self.world.say(
                f"already finished: trained on {trained}, of a length of {self.setup.length:,}"
            )
        if self.run:
            if self.is_last and latest:
                self.run_recipe = report_finished(self.run, self.run_recipe, latest, self.world.say)
            self.run.set_status(self.finished_status, self.images_seen)
        if self.is_last:
            epoch = self.setup.data.epoch
            self._say_results(
                run_summary.describe_going_on(self.run_recipe, self.images_seen, epoch)
            )

    def _train(self, latest: Path | None, state: State | None, held_out: HeldOut | None) -> str:
        """Train from the latest checkpoint on, and print the end."""
        start = f"resuming at image {self.images_seen}" if latest else "starting a new run"
        self.world.say(start + self.place)
        self.world.say(f"run: {self.run_recipe.folder}")
        if self.recipe.micro_batch_size == "auto":
            self._choose_micro_batch(state)
        trainer = Trainer(
            self.setup,
            self.run_recipe,
            run=self.run,
            trackers=self.trackers,
            held_out=held_out,
            finished_status=self.finished_status,
        )
        is_finished = trainer.train(latest, state)
        self.images_seen = trainer.images_seen
        if not is_finished:
            self._say_results(run_summary.describe_resuming())
            return "unfinished"
        if self.is_last:
            self.world.say(f"finished: trained on {count_text(self.images_seen, 'image')}")
            self._say_results([])
        return "finished"

    def _choose_micro_batch(self, state: State | None) -> None:
        # As many ranks as before keep the size, since results of batch norm depend on it.
        if state and state.ranks == self.world.size:
            micro_batch_size = state.micro_batch_size
        else:
            micro_batch_size = largest_micro_batch(self.setup)
        self.setup.data.split = batch_split.split(
            self.recipe.batch_size,
            self.world.size,
            micro_batch_size,
            self.recipe.data.partitions,
        )

    def _say_results(self, more: list[str]) -> None:
        """Print where the results are, and then the lines `more` on what the user can do next."""
        if self.world.is_main:
            data = self.setup.data
            results = run_summary.describe_results(
                self.run_recipe,
                has_held_out=data.held_out is not None,
                has_test=data.test is not None,
            )
            self.world.say_whole("\n".join(f"  {line}" for line in [*results, *more]))
