"""SPADE's generators and encoder of styles."""

import math

from gantrain.importers.layout import ENCODER_ROLE, Layout, Names, State, norm

# The modules of a spatially adaptive norm, from theirs to ours.
_INSIDE_NORM = {
    "param_free_norm": "norm.0",
    "mlp_shared.0": "shared.0",
    "mlp_gamma": "scale",
    "mlp_beta": "shift",
}
# The modules of a residual block, from theirs to ours; the norms hold those of _INSIDE_NORM.
_CONVOLUTIONS = {
    "conv_0": "convs.0",
    "conv_1": "convs.1",
    "conv_s": "shortcut.1",
}
_NORMS = {
    "norm_0": "norms.0",
    "norm_1": "norms.1",
    "norm_s": "shortcut.0",
}
_MOST_UP_BLOCKS = 5


def generator(state: State) -> Layout:
    """Recognise a generator, with styles or not.

    Its keys are the same for the paper's `normal` and `more` up-sampling layers.
    """
    start = state["fc.weight"]
    last = state["conv_img.weight"]
    blocks = ["head_0", "G_middle_0", "G_middle_1"]
    for number in range(_MOST_UP_BLOCKS):
        if f"up_{number}.conv_0.weight" in state:
            blocks.append(f"up_{number}")
    names: Names = {"fc": "start", "conv_img": "last"}
    for number, block in enumerate(blocks):
        names |= _block_names(block, f"blocks.{number}")
    widest = state["head_0.conv_0.weight"].shape[0]
    shared = state["head_0.norm_0.mlp_shared.0.weight"]
    component: dict[str, object] = {
        "name": "spade",
        "width": widest // 16,
        "hidden": shared.shape[0],
        "norm": norm(state),
        "upsampling": "most" if len(blocks) == 8 else "normal",
        "spectral_norm": "head_0.conv_0.u" in state,
    }
    data_dims = {"in_channels": shared.shape[1], "out_channels": last.shape[0]}
    has_style = start.ndim == 2  # `fc` maps a style to the coarsest map
    if has_style:
        component["head"] = _coarsest_size(start.shape[0] // widest)
        data_dims["style_channels"] = start.shape[1]
    return Layout(component, data_dims, names)


def _block_names(theirs: str, ours: str) -> Names:
    """Return the names of the modules in a residual block."""
    names: Names = {}
    for their_convolution, our_convolution in _CONVOLUTIONS.items():
        names[f"{theirs}.{their_convolution}"] = f"{ours}.{our_convolution}"
    for their_norm, our_norm in _NORMS.items():
        for their_module, our_module in _INSIDE_NORM.items():
            names[f"{theirs}.{their_norm}.{their_module}"] = f"{ours}.{our_norm}.{our_module}"
    return names


def _coarsest_size(pixels: int) -> tuple[int, int]:
    """Return the coarsest map's height and width: square, or as wide as two squares.

    The wide map is that of Cityscapes.
    """
    is_square = math.isqrt(pixels) ** 2 == pixels
    ratio = 1 if is_square else 2
    height = math.isqrt(pixels // ratio)
    return height, ratio * height


def encoder(state: State) -> Layout:
    """Recognise the encoder of images to styles."""
    first = state["layer1.0.weight"]
    mean = state["fc_mu.weight"]
    names = {"fc_mu": "mean", "fc_var": "log_variance"}
    for number in range(1, 7):
        names[f"layer{number}.0"] = f"layers.{number - 1}.0"
    component = {"name": "style_encoder", "width": first.shape[0]}
    data_dims = {"in_channels": first.shape[1], "style_channels": mean.shape[0]}
    return Layout(component, data_dims, names, ENCODER_ROLE)
