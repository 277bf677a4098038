"""Training: the trainer, the step, and what they need on one or many ranks."""
