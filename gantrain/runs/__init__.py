"""Run folders: checkpoints, logs, meters and trackers."""
