"""The new names of a recipe's keys and of command options that were renamed.

gantrain refuses an old name with the new one. It does not read old names.
"""

from collections.abc import Collection

# The last part of a dotted key, and its new name, in each place that has a key of the new name.
NEW_NAMES = {
    "border": "crop_border",  # evaluate.border
    "clip": "grad_clip_norm",  # optimizer.clip, phases.NAME.clip
    "decay": "decay_fraction",  # schedule.decay
    "doublings": "upsampling",  # method.generator.doublings, of spade
    "every": "interval_steps",  # optimizer.every, phases.NAME.every, method.penalty.every
    "halvings": "downsampling",  # method.generator.halvings, of coarse_to_fine
    "jitter": "color_jitter",  # data.jitter
}

# Whole keys that stand elsewhere now.
MOVED_KEYS = {
    "data.instances": "data.inputs.instances",
    "method.feature_matching": "method.losses.feature_matching",
    "method.l1": "method.losses.l1",
    "method.l2": "method.losses.l2",
    "method.penalty": "method.penalties",
    "method.perceptual": "method.losses.perceptual",
    "method.vgg": "method.losses.perceptual.network",
}

# Options of commands: of `gantrain evaluate`, `gantrain import` and `gantrain translate`.
NEW_OPTIONS = {
    "--border": "--crop-border",
    "--doublings": "--upsampling",
    "--instances": "--input",
}


def renamed_key(key: str, allowed: Collection[str]) -> str:
    """Return the dotted key that was renamed from `key`; empty where `key` was never a name.

    allowed: the names in the key's place. A component that has no key of the new name, such as a
    U-Net for `doublings`, never had one of the old name.
    """
    parent, dot, name = key.rpartition(".")
    moved_key = MOVED_KEYS.get(key, "")
    if moved_key.removeprefix(f"{parent}.").split(".")[0] in allowed:
        return moved_key
    new_name = NEW_NAMES.get(name)
    if new_name is None or new_name not in allowed:
        return ""
    return f"{parent}{dot}{new_name}"
