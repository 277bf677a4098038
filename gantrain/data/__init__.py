"""Data sets: packing, reading, order, transforms."""
