"""Reads texts of the form NAME=VALUE."""

from gantrain.core.errors import UserError


def named_values(key: str, texts: list[str] | None) -> dict[str, str]:
    """Return the values by name, from texts NAME=VALUE.

    key: the option, for the message. Raises UserError for another form, and for a name that is
    given twice.
    """
    values: dict[str, str] = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        if not (name and value):
            raise UserError(f"{key}: found {text!r}, allowed: NAME=VALUE")
        if name in values:
            listed = ", ".join(texts or [])
            raise UserError(
                f"{key}: found one name twice in {listed}, allowed: each name at most once"
            )
        values[name] = value
    return values
