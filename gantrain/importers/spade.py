"""SPADE's generators, without styles."""

from gantrain.importers.layout import Found, Names, State

_INSIDE = {"param_free_norm": "norm.0", "mlp_shared.0": "shared.0", "mlp_gamma": "scale", "mlp_beta": "shift"}


def spade(state: State) -> Found | None:
    """A generator that starts at the label map. Its keys don't tell the paper's `normal` from `more`."""
    start, last = state["fc.weight"], state["conv_img.weight"]
    theirs = ["head_0", "G_middle_0", "G_middle_1", *(f"up_{i}" for i in range(5) if f"up_{i}.conv_0.weight" in state)]
    if start.ndim != 4:
        found = "found SPADE's with styles, of which a part is in another file"
        raise ValueError(f"import: {found}; allowed: a generator without, whose fc is a convolution")
    names: Names = {"fc": "start", "conv_img": "last"}
    for i, block in enumerate(theirs):
        names |= {f"{block}.conv_{n}": f"blocks.{i}.convs.{n}" for n in (0, 1)}
        names[f"{block}.conv_s"] = f"blocks.{i}.shortcut.1"
        for norm, ours in (("norm_0", "norms.0"), ("norm_1", "norms.1"), ("norm_s", "shortcut.0")):
            names |= {f"{block}.{norm}.{a}": f"blocks.{i}.{ours}.{b}" for a, b in _INSIDE.items()}
    shared = state["head_0.norm_0.mlp_shared.0.weight"]
    generator = {"name": "spade", "width": start.shape[0] // 16, "hidden": shared.shape[0]}
    generator |= {"doublings": "most" if len(theirs) == 8 else "normal", "spectral_norm": "head_0.conv_0.u" in state}
    return Found(generator, start.shape[1], last.shape[0], names, method="spade")
