"""Packing folders of images as data sets."""
