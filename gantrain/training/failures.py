"""How the errors of training end a run."""

from gantrain.core.errors import RunStopped
from gantrain.core.out_of_memory import OutOfMemory, is_out_of_memory
from gantrain.data.remote import FetchFailed
from gantrain.data.shards import DamagedSample
from gantrain.training.auto_micro_batch import describe_out_of_memory
from gantrain.training.batch_split import BatchLayout
from gantrain.training.determinism import refusal


def stop_for(error: BaseException, split: BatchLayout, keeps_forward: bool) -> RunStopped | None:
    """Return how a foreseen error of this rank ends the run, or None for any other error.

    split: the layout of the batch, which shows what would take less memory. keeps_forward: whether
    each step keeps a forward of a later phase.
    """
    if isinstance(error, RunStopped):
        return RunStopped(str(error))
    if isinstance(error, DamagedSample):
        return RunStopped(f"data: {error}; copy or prepare the data again", only_this_rank=True)
    if isinstance(error, FetchFailed):
        return RunStopped(f"data: {error}", only_this_rank=True)
    if isinstance(error, OutOfMemory):  # which names the sample
        return RunStopped(str(error), only_this_rank=True)
    no_algorithm = refusal(error)
    if no_algorithm is not None:
        return no_algorithm
    if is_out_of_memory(error):
        return RunStopped(describe_out_of_memory(split, keeps_forward), only_this_rank=True)
    return None
