"""pix2pixHD's generators."""

from gantrain.importers.layout import (
    Layout,
    SequentialNames,
    State,
    count_convolutions,
    has_dropout,
    norm,
    residual_blocks,
    residual_generator,
)


def coarse_to_fine(state: State) -> Layout | None:
    """Recognise the global generator, or the local enhancer around it (`model1_1`, `model1_2`)."""
    first = state["model.1.weight"]
    blocks = residual_blocks(state)
    if not blocks:
        return None
    downs = count_convolutions(state, blocks[0]) - 1  # but for the first convolution
    dropout = has_dropout(state, blocks[0])
    enhancer = "model1_1.1.weight" in state
    component = {
        "name": "coarse_to_fine",
        "width": first.shape[0],
        "downsampling": downs,
        "blocks": len(blocks),
        "dropout": 0.5 if dropout else 0.0,
        "enhancer": enhancer,
        "norm": norm(state),
    }
    ours = [f"coarse.{i}" for i in range(1 + downs + len(blocks) + downs)]
    end_of_downs = 1 + downs
    end_of_blocks = end_of_downs + len(blocks)
    sequential = SequentialNames("model")
    sequential.add(None)  # padding
    residual_generator(
        sequential,
        downs=ours[:end_of_downs],
        blocks=ours[end_of_downs:end_of_blocks],
        ups=ours[end_of_blocks:],
        dropout=dropout,
    )
    names = sequential.names
    if enhancer:
        fine_blocks = _count_fine_blocks(state)
        component["fine_blocks"] = fine_blocks
        before = SequentialNames("model1_1")
        before.add(None)  # padding
        residual_generator(before, downs=["before.0", "before.1"], blocks=[], ups=[])
        sequential = SequentialNames("model1_2")
        residual_generator(
            sequential,
            downs=[],
            blocks=[f"after.{i}" for i in range(fine_blocks)],
            ups=[f"after.{fine_blocks}"],
        )
        names = {**names, **before.names}
    sequential.add(None, "last")  # padding, convolution
    data_dims = {
        "in_channels": first.shape[1],
        "out_channels": sequential.weight_of("last", state).shape[0],
    }
    return Layout(component, data_dims, {**names, **sequential.names})


def _count_fine_blocks(state: State) -> int:
    count = 0
    while f"model1_2.{count}.conv_block.1.weight" in state:
        count += 1
    return count
