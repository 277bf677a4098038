"""Measures of training speed, which `gantrain bench` and `benchmarks/` share."""
