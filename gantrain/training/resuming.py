"""The checks of a resumed run, and its lines on the differences from its checkpoint."""

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.runs.checkpoint_state import State, versions
from gantrain.training.setup import RunSetup


def check_data(setup: RunSetup, fingerprint: str) -> None:
    """Raise UserError where the training data are not those of the checkpoint."""
    saved = fingerprint.split()
    keys = ("data.train", "data.train_target")
    for i, data in enumerate(setup.data.train.domains):
        key = keys[i]
        before = saved[i] if i < len(saved) else "none"
        if before != data.fingerprint:
            raise UserError(
                f"{key}: {data.place} holds other data (fingerprint {data.fingerprint[:12]}) than"
                f" the run was started with ({before[:12]}); give the same data, or run=OTHER"
            )


def describe_changes(state: State, setup: RunSetup) -> list[str]:
    """Return a line for another version and for another length of the run.

    Neither is a reason to refuse a checkpoint.
    """
    lines: list[str] = []
    here = versions()
    changed = [name for name in ("gantrain", "torch") if state.versions.get(name) != here[name]]
    if changed:
        before = ", ".join(f"{name} {state.versions.get(name, 'unknown')}" for name in changed)
        now = ", ".join(f"{name} {here[name]}" for name in changed)
        lines.append(
            f"the checkpoint is of {before}, this is {now}; bit-identity holds within a version"
        )
    length = setup.length
    if state.length is not None and state.length != length:
        after = setup.rates(state.images_seen)
        now_and_before = f"{count_text(length, 'image')} (was {state.length:,})"
        lines.append(f"length is now {now_and_before}: {_rates_line(state.rates, after)}")
    return lines


def _rates_line(before: dict[str, float], after: dict[str, float]) -> str:
    """Return the rates of the phases before and after, as one number where all are the same."""
    old = [f"{before[name]:.3g}" if name in before else "unknown" for name in after]
    new = [f"{rate:.3g}" for rate in after.values()]
    if len(set(old)) == 1 and len(set(new)) == 1:
        return f"the learning rate goes on at {new[0]} (it was {old[0]})"
    phases = [
        f"{name} at {now} (it was {then})" for name, now, then in zip(after, new, old, strict=True)
    ]
    return f"the learning rates go on: {', '.join(phases)}"
