"""Inference: translating images with a trained generator."""
