"""Compares the recipe of a run with that of its resumption."""

from collections.abc import Container

# Keys that may differ between the run's start and its resumption. The data's fingerprint is
# compared separately, so a data set may move.
RESUMABLE = (
    "name",
    "description",
    "run",
    "length",
    "micro_batch_size",
    "zero_stage",
    "device",
    "threads",
    "log_every",
    "trackers",
    "tracker_failure",
    "tracker_project",
    "stop_signal",
    "max_nonfinite",
    "dry_run",
    "evaluate",
    "previews",
    "checkpoint",
    "gradient_checkpointing",
    "data.train",
    "data.train_target",
    "data.validation",
    "data.validation_target",
    "data.test",
    "data.test_target",
    "data.workers",
    "data.max_bad_fraction",
    "data.max_left_out",
    "data.cache_gib",
)


def differences(
    old: dict[str, object],
    new: dict[str, object],
    allowed: Container[str] = RESUMABLE,
    prefix: str = "",
) -> list[str]:
    """Return lines `key: old -> new` for the keys that differ.

    allowed: the dotted keys that may differ. prefix: before the keys of `old` and `new`.
    """
    lines = []
    for key in sorted({*old, *new}):
        path = f"{prefix}{key}"
        old_value = old.get(key)
        new_value = new.get(key)
        if path in allowed or old_value == new_value:
            continue
        if isinstance(old_value, dict) and isinstance(new_value, dict):
            lines += differences(old_value, new_value, allowed, f"{path}.")
        else:
            lines.append(f"{path}: {old_value} -> {new_value}")
    return lines
