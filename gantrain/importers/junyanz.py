"""Networks of pytorch-CycleGAN-and-pix2pix, and CUT's, which grew out of them."""

from gantrain.importers.layout import (
    Found,
    Names,
    State,
    chain,
    downs_before,
    has_dropout,
    norm,
    residual_blocks,
)


def unet(state: State) -> Found | None:
    """The U-Net of any depth, a block inside a block: `model.model.1.model.3.model...`."""
    first, last = state["model.model.0.weight"], state["model.model.3.weight"]
    blocks, inner = list[str](), "model.model.1.model"
    while f"{inner}.1.weight" in state:
        blocks.append(inner)
        inner += ".3.model"
    if not blocks:
        return None
    names: Names = {"model.model.0": "downs.0.0", "model.model.3": f"ups.{len(blocks)}.1"}
    for level, block in enumerate(blocks, 1):
        # The innermost has no norm on its way down, and nothing inside.
        down, up, at = (
            f"downs.{level}",
            f"ups.{len(blocks) - level}",
            3 if level == len(blocks) else 5,
        )
        names |= {f"{block}.1": f"{down}.1", f"{block}.2": f"{down}.2"}
        names |= {f"{block}.{at}": f"{up}.1", f"{block}.{at + 1}": f"{up}.2"}
    component = {
        "name": "unet",
        "width": first.shape[0],
        "levels": len(blocks) + 1,
        "norm": norm(state, 1),
    }
    # A file does not show dropout. The published PyTorch code leaves it out of the innermost block.
    component["dropout_from"] = "second"
    return Found(component, {"in_channels": first.shape[1], "out_channels": last.shape[1]}, names)


def resnet(state: State) -> Found | None:
    """The ResNet with any number of blocks, anti-aliased or not, with dropout or not."""
    first, at = state["model.1.weight"], residual_blocks(state)
    if not at or downs_before(state, at[0]) != 3 or "model1_1.1.weight" in state:
        return None
    if (
        norm(state) == "batch" and "model.1.bias" in state
    ):  # pix2pixHD's has biases beside batch norm
        return None
    # A blur keeps its kernel in the file: 3x3 on the way down, 4x4 on the way up.
    blurs = {tensor.shape[-1] for key, tensor in state.items() if key.endswith(".filt")}
    dropout = has_dropout(state, at[0])
    names, end = chain(
        "model",
        ["first", "downs.0", "downs.1"],
        [f"blocks.{i}" for i in range(len(at))],
        ["ups.0", "ups.1"],
        antialias=3 in blurs,
        smooth=4 in blurs,
        dropout=dropout,
    )
    names[f"model.{end + 1}"] = "last"
    component = {
        "name": "resnet",
        "width": first.shape[0],
        "blocks": len(at),
        "dropout": 0.5 if dropout else 0.0,
    }
    component |= {"antialias": 3 in blurs, "upsample": "bilinear" if 4 in blurs else "transpose"}
    facts = {
        "in_channels": first.shape[1],
        "out_channels": state[f"model.{end + 1}.weight"].shape[0],
    }
    return Found({**component, "norm": norm(state, 1)}, facts, names)


def projection(state: State) -> Found:
    """CUT's F, of any number of features."""
    mlps = [
        key.removesuffix(".0.weight")
        for key in state
        if key.endswith(".0.weight") and key.startswith("mlp_")
    ]
    names = {f"{mlp}.{n}": f"layers.{mlp.removeprefix('mlp_')}.{n}" for mlp in mlps for n in (0, 2)}
    channels = [state[f"mlp_{i}.0.weight"].shape[1] for i in range(len(mlps))]
    component = {"name": "projection", "width": state["mlp_0.0.weight"].shape[0]}
    return Found(component, {"channels": channels}, names, "projection")
