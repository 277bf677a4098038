"""Recipes: the schema, the files and overrides, and building a method from a recipe."""
