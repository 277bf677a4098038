"""The kinds of fields: what the values of a field mean, and how they are treated."""
