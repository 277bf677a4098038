"""Translates another project's `--dataroot DIR` into words of gantrain's command line."""

import os
from collections.abc import Mapping
from pathlib import Path

from gantrain.recipe.field_types import AUTO


def is_folder_option(option: str) -> bool:
    """Return whether an option of another project names a folder of all splits."""
    return option.lower() == "dataroot"


def words_for_folder(folder: str, recipe: Mapping[str, object]) -> list[str]:
    """Return the words that train a recipe on another project's folder of all splits.

    The folder is one of pytorch-CycleGAN-and-pix2pix: it holds trainA and trainB, or train.
    recipe: its content. A recipe may name other held-out data, which would be measured instead of
    those of the folder, so the words say `data.validation=auto`: it looks beside the training
    data.
    """
    from gantrain.data.prepare.layouts import sides_of_split  # imports torch

    data = recipe.get("data")
    settings: Mapping[str, object] = data if isinstance(data, Mapping) else {}
    has_both = bool(sides_of_split(Path(os.path.expanduser(folder)), "train"))
    words = [f"data={folder}" if has_both else f"data.train={folder}/train"]
    if settings.get("validation", AUTO) != AUTO:
        words.append(f"data.validation={AUTO}")
    if has_both:
        for key in ("train_target", "validation_target", "test", "test_target"):
            if settings.get(key) is not None:
                words.append(f"data.{key}=null")
    return words
