"""The size to which a network pads is known without running it."""

import pytest
import torch
from small_networks import GENERATORS, deterministic, images
from torch import Tensor, nn

from gantrain.networks.blocks import padded_size


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (33, 20), (48, 64)])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_pads_to_the_stated_size(name: str, size: tuple[int, int]) -> None:
    network = deterministic(name).eval()
    heights, widths = [1], [1]

    def see(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            heights.append(output.shape[-2])
            widths.append(output.shape[-1])

    for module in network.modules():
        if module is not network:
            module.register_forward_hook(see)
    with torch.no_grad():
        output = network(images(*size))
    assert output.shape[-2:] == size
    expected = padded_size(size, network.multiple, network.padded_minimum)
    assert (max(heights), max(widths)) == expected
