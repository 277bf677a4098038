"""Name the test sets of `gantrain evaluate`, and pair them with their targets."""

from pathlib import Path

from gantrain.core.errors import UserError
from gantrain.core.named_values import named_values
from gantrain.core.wording import option


def name_test_sets(texts: list[str] | None) -> dict[str, str]:
    """Return the test sets of `--data [NAME=]PLACE` by name.

    The name of a text without one is that of its folder. Raises UserError.
    """
    named_texts = []
    for text in texts or []:
        has_name = "=" in text
        named_texts.append(text if has_name else f"{Path(text).absolute().name}={text}")
    return named_values("--data", named_texts)


def name_targets(texts: list[str] | None, sets: list[str]) -> dict[str, str]:
    """Return the targets of `--data-target [NAME=]PLACE` by the name of their test set.

    sets: the names of the test sets. NAME can be left out where there is one set. Raises
    UserError.
    """
    key = option("data_target")
    if texts and not sets:
        raise UserError(
            f"{key}: found it without {option('data')}; give the sources as {option('data')}, and"
            " the targets here"
        )
    if texts and len(texts) == len(sets) == 1 and "=" not in texts[0]:
        return {sets[0]: texts[0]}
    targets = named_values(key, texts)
    for name in targets:
        if name not in sets:
            allowed = f"a NAME of {option('data')}: {', '.join(sets)}"
            raise UserError(f"{key}: found {name!r}, allowed: {allowed}")
    return targets
