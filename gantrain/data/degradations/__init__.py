"""Degradations: they make a method's source from its target."""
