"""What may differ between the recipe of a run and that of its resumption."""

from collections.abc import Container
from typing import Any

# Keys that may differ between the run's start and its resumption. The data's fingerprint is
# compared apart, so a data set may move.
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
    old: dict[str, Any], new: dict[str, Any], allowed: Container[str] = RESUMABLE, prefix: str = ""
) -> list[str]:
    """Lines `key: old -> new` for what may not differ: all but what a resumed run may change."""
    lines = []
    for key in sorted({*old, *new}):
        path, before, after = prefix + key, old.get(key), new.get(key)
        if path in allowed or before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, allowed, path + ".")
        else:
            lines.append(f"{path}: {before} -> {after}")
    return lines
