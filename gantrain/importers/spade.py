"""SPADE's generators and encoder of styles."""

import math

from gantrain.importers.layout import Found, Names, State, norm

_INSIDE = {
    "param_free_norm": "norm.0",
    "mlp_shared.0": "shared.0",
    "mlp_gamma": "scale",
    "mlp_beta": "shift",
}


def generator(state: State) -> Found:
    """A generator, with styles or not. Its keys don't tell the paper's `normal` from `more`."""
    start, last = state["fc.weight"], state["conv_img.weight"]
    theirs = [
        "head_0",
        "G_middle_0",
        "G_middle_1",
        *(f"up_{i}" for i in range(5) if f"up_{i}.conv_0.weight" in state),
    ]
    names: Names = {"fc": "start", "conv_img": "last"}
    for i, block in enumerate(theirs):
        names |= {f"{block}.conv_{n}": f"blocks.{i}.convs.{n}" for n in (0, 1)}
        names[f"{block}.conv_s"] = f"blocks.{i}.shortcut.1"
        for part, ours in (("norm_0", "norms.0"), ("norm_1", "norms.1"), ("norm_s", "shortcut.0")):
            names |= {f"{block}.{part}.{a}": f"blocks.{i}.{ours}.{b}" for a, b in _INSIDE.items()}
    widest, shared = (
        state["head_0.conv_0.weight"].shape[0],
        state["head_0.norm_0.mlp_shared.0.weight"],
    )
    component = {
        "name": "spade",
        "width": widest // 16,
        "hidden": shared.shape[0],
        "norm": norm(state),
    }
    component |= {
        "upsampling": "most" if len(theirs) == 8 else "normal",
        "spectral_norm": "head_0.conv_0.u" in state,
    }
    facts = {"in_channels": shared.shape[1], "out_channels": last.shape[0]}
    if (
        start.ndim == 2
    ):  # from a style to the coarsest map, square, or twice as wide as for Cityscapes
        pixels = start.shape[0] // widest
        ratio = 1 if math.isqrt(pixels) ** 2 == pixels else 2
        height = math.isqrt(pixels // ratio)
        component["head"] = (height, ratio * height)
        facts["style_channels"] = start.shape[1]
    return Found(component, facts, names)


def encoder(state: State) -> Found:
    """The encoder of images to styles."""
    first, mean = state["layer1.0.weight"], state["fc_mu.weight"]
    names = {f"layer{i}.0": f"layers.{i - 1}.0" for i in range(1, 7)} | {
        "fc_mu": "mean",
        "fc_var": "log_variance",
    }
    facts = {"in_channels": first.shape[1], "style_channels": mean.shape[0]}
    return Found({"name": "style_encoder", "width": first.shape[0]}, facts, names, "encoder")
