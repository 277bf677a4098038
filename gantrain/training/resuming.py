"""What a resumed run checks, and what it reports of the differences from its checkpoint."""

from gantrain.core.amounts import count_text
from gantrain.runs.checkpoint_state import State, versions
from gantrain.training.setup import Assembly


def check_data(parts: Assembly, fingerprint: str) -> None:
    """Raises ValueError where the training data are not those of the checkpoint."""
    saved = fingerprint.split()
    for i, data in enumerate(parts.train.domains):
        key = ("data.train", "data.train_target")[i]
        before = saved[i] if i < len(saved) else "none"
        if before != data.fingerprint:
            raise ValueError(
                f"{key}: {data.place} holds other data (fingerprint {data.fingerprint[:12]}) than"
                f" the run was started with ({before[:12]}); give the same data, or run=OTHER"
            )


def describe_changes(state: State, parts: Assembly) -> list[str]:
    """A line for another version and for another length, for neither of which a checkpoint is
    refused.
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
    length = parts.total - parts.began
    if state.length is not None and state.length != length:
        after = parts.rates(state.images_seen)
        now_and_before = f"{count_text(length, 'image')} (was {state.length:,})"
        lines.append(f"length is now {now_and_before}: {_rates_line(state.rates, after)}")
    return lines


def _rates_line(before: dict[str, float], after: dict[str, float]) -> str:
    """The rates of the phases before and after, as one number where they are all the same."""
    old = [f"{before[name]:.3g}" if name in before else "unknown" for name in after]
    new = [f"{rate:.3g}" for rate in after.values()]
    if len(set(old)) == 1 and len(set(new)) == 1:
        return f"the learning rate goes on at {new[0]} (it was {old[0]})"
    phases = [
        f"{name} at {now} (it was {then})" for name, now, then in zip(after, new, old, strict=True)
    ]
    return f"the learning rates go on: {', '.join(phases)}"
