"""Networks of pytorch-CycleGAN-and-pix2pix, and CUT's, which grew out of them."""

from gantrain.importers.layout import (
    PROJECTION_ROLE,
    Layout,
    Names,
    SequentialNames,
    State,
    count_convolutions,
    has_dropout,
    norm,
    residual_blocks,
    residual_generator,
)


def unet(state: State) -> Layout | None:
    """Recognise the U-Net of any depth.

    Each of its blocks holds the next one: `model.model.1.model.3.model...`.
    """
    first = state["model.model.0.weight"]
    last = state["model.model.3.weight"]
    blocks: list[str] = []
    inner = "model.model.1.model"
    while f"{inner}.1.weight" in state:
        blocks.append(inner)
        inner += ".3.model"
    if not blocks:
        return None
    names: Names = {"model.model.0": "downs.0.0", "model.model.3": f"ups.{len(blocks)}.1"}
    for level, block in enumerate(blocks, 1):
        down = f"downs.{level}"
        up = f"ups.{len(blocks) - level}"
        sequential = SequentialNames(block)
        sequential.add(None, f"{down}.1")  # ReLU, convolution
        if level < len(blocks):
            sequential.add(f"{down}.2", None)  # norm, the next block
        sequential.add(None, f"{up}.1", f"{up}.2")  # ReLU, convolution, norm
        names |= sequential.names
    component = {
        "name": "unet",
        "width": first.shape[0],
        "levels": len(blocks) + 1,
        "norm": norm(state, biased=1),
        # A file does not show dropout. The published PyTorch code leaves it out of the innermost
        # block.
        "dropout_from": "second",
    }
    data_dims = {"in_channels": first.shape[1], "out_channels": last.shape[1]}
    return Layout(component, data_dims, names)


def resnet(state: State) -> Layout | None:
    """Recognise the ResNet of any number of blocks, with or without anti-aliasing and dropout."""
    first = state["model.1.weight"]
    blocks = residual_blocks(state)
    if not blocks or count_convolutions(state, blocks[0]) != 3 or "model1_1.1.weight" in state:
        return None
    # pix2pixHD's has biases beside batch norm.
    if norm(state) == "batch" and "model.1.bias" in state:
        return None
    # A blur keeps its kernel in the file: 3x3 for down-sampling, 4x4 for up-sampling.
    blurs = {tensor.shape[-1] for key, tensor in state.items() if key.endswith(".filt")}
    antialias = 3 in blurs
    smooth_upsampling = 4 in blurs
    dropout = has_dropout(state, blocks[0])
    sequential = SequentialNames("model")
    sequential.add(None)  # padding
    residual_generator(
        sequential,
        downs=["first", "downs.0", "downs.1"],
        blocks=[f"blocks.{i}" for i in range(len(blocks))],
        ups=["ups.0", "ups.1"],
        antialias=antialias,
        resize=smooth_upsampling,
        dropout=dropout,
    )
    sequential.add(None, "last")  # padding, convolution
    component = {
        "name": "resnet",
        "width": first.shape[0],
        "blocks": len(blocks),
        "dropout": 0.5 if dropout else 0.0,
        "antialias": antialias,
        "upsample": "bilinear" if smooth_upsampling else "transpose",
        "norm": norm(state, biased=1),
    }
    data_dims = {
        "in_channels": first.shape[1],
        "out_channels": sequential.weight_of("last", state).shape[0],
    }
    return Layout(component, data_dims, sequential.names)


def projection(state: State) -> Layout:
    """Recognise CUT's F, of any number of features."""
    names: Names = {}
    count = 0
    for key in state:
        if not (key.startswith("mlp_") and key.endswith(".0.weight")):
            continue
        count += 1
        mlp = key.removesuffix(".0.weight")
        for layer in (0, 2):
            names[f"{mlp}.{layer}"] = f"layers.{mlp.removeprefix('mlp_')}.{layer}"
    channels = [state[f"mlp_{i}.0.weight"].shape[1] for i in range(count)]
    component = {"name": "projection", "width": state["mlp_0.0.weight"].shape[0]}
    return Layout(component, {"channels": channels}, names, PROJECTION_ROLE)
