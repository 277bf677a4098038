"""pix2pixHD's generators."""

from gantrain.importers.layout import (
    Found,
    State,
    chain,
    downs_before,
    has_dropout,
    norm,
    residual_blocks,
)


def coarse_to_fine(state: State) -> Found | None:
    """The global generator, and with `model1_1` and `model1_2` the local enhancer around it."""
    first, at = state["model.1.weight"], residual_blocks(state)
    if not at:
        return None
    downsampling, blocks, enhancer = (
        downs_before(state, at[0]) - 1,
        len(at),
        "model1_1.1.weight" in state,
    )
    ours = [f"coarse.{i}" for i in range(1 + 2 * downsampling + blocks)]
    dropout = has_dropout(state, at[0])
    middle = 1 + downsampling
    names, end = chain(
        "model",
        ours[:middle],
        ours[middle : middle + blocks],
        ours[middle + blocks :],
        dropout=dropout,
    )
    component = {
        "name": "coarse_to_fine",
        "width": first.shape[0],
        "downsampling": downsampling,
        "blocks": blocks,
    }
    component |= {"dropout": 0.5 if dropout else 0.0, "enhancer": enhancer, "norm": norm(state)}
    last = f"model.{end + 1}"
    if enhancer:
        fine = 0
        while f"model1_2.{fine}.conv_block.1.weight" in state:
            fine += 1
        after = [f"after.{i}" for i in range(fine + 1)]
        names |= chain("model1_1", ["before.0", "before.1"], [], [])[0]
        inside, end = chain("model1_2", [], after[:fine], after[fine:], start=0)
        names |= inside
        component["fine_blocks"], last = fine, f"model1_2.{end + 1}"
    names[last] = "last"
    return Found(
        component,
        {"in_channels": first.shape[1], "out_channels": state[f"{last}.weight"].shape[0]},
        names,
    )
