"""Evaluation: held-out data while training, and `gantrain evaluate`."""
