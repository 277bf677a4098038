"""The errors that gantrain raises on purpose, in a module that needs no torch."""

from pathlib import Path


class UserError(ValueError):
    """A mistake of a user. Its message says in one line what is wrong and what to do.

    Another ValueError, such as a library's, is a defect: a command shows its traceback.

    only_this_rank: True if only this rank knows of the mistake, so that it prints the message.
    """

    only_this_rank = False


class RunStopped(Exception):
    """Training cannot continue. The message says why and what to do.

    Args:
        only_this_rank: True if only this rank knows the reason, so that it prints the message.
    """

    def __init__(self, reason: str, only_this_rank: bool = False) -> None:
        super().__init__(reason)
        self.only_this_rank = only_this_rank


def because_of_nonfinite(in_a_row: int, latest: Path | None) -> RunStopped:
    """Return the error that ends a run whose last updates were not finite.

    latest: its last checkpoint, which is good.
    """
    return RunStopped(
        f"{in_a_row} updates in a row were not finite; the last good checkpoint is {latest}. "
        "Try a lower optimizer.lr, optimizer.grad_clip_norm=1, or precision=fp32"
    )


def because_of_damage(damaged: set[str], samples: int, limit: float) -> RunStopped:
    """Return the error that ends a run with too many damaged samples.

    damaged: a text for each of them.
    """
    return RunStopped(
        f"data.train: {len(damaged)} of {samples} samples are damaged, more "
        f"than data.max_bad_fraction={limit} allows, such as: {min(damaged)}"
    )
