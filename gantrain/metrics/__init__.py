"""Metrics: the registry, extractors, distances and the metric suite."""
