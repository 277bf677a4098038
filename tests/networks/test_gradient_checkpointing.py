"""Gradient checkpointing: the same bits from less memory."""

import pytest
import torch
from comparing import assert_identical, tensors
from conftest import SMALL, run_here
from small_networks import GENERATORS, small, takes
from torch import Tensor, nn

from gantrain.networks.gradient_checkpointing import recompute


def gradients(network: nn.Module, images: Tensor) -> tuple[list[Tensor], int]:
    """What a backward pass gives, and the bytes that the forward pass has kept for it besides
    the weights.
    """
    kept: dict[int, int] = {}
    weights = {p.data_ptr() for p in network.parameters()}

    def pack(x: Tensor) -> Tensor:
        if x.data_ptr() not in weights:
            kept[x.data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(1)  # of dropout
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = network(images).square().sum()
    loss.backward()
    return [loss.detach(), *(p.grad for p in network.parameters())], sum(kept.values())  # type: ignore[misc]


@pytest.mark.parametrize("name", GENERATORS)
def test_gradients_are_the_same_and_less_is_kept(name: str) -> None:
    options = {"norm": "instance"} if takes(name, "norm") else {}
    plain, again = small(name, **options), small(name, **options)
    recompute(again)
    assert plain.state_dict().keys() == again.state_dict().keys()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (ours, less), (theirs, more) = gradients(again, images), gradients(plain, images)
    assert all(map(torch.equal, ours, theirs))
    assert less < 0.8 * more


@pytest.mark.slow
def test_a_run_has_the_same_bits_and_goes_on_with_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (
        *SMALL,
        "method.generator.norm=instance",
        "method.generator.levels=6",
        "method.generator.dropout=0.5",
    )
    words = (
        *words,
        "data.size=[64,64]",
        "batch_size=4",
        "length=16",
        "micro_batch_size=2",
        "checkpoint.every=8",
    )
    run_here(*words, "run=plain")
    run_here(*words, "run=again", "length=8")
    run_here(*words, "run=again", "gradient_checkpointing=true")
    assert "resuming at image 8" in capsys.readouterr().out
    assert_identical(tensors("plain", 16), tensors("again", 16))


def test_batch_norm_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"gradient_checkpointing: found true, the generator's batch norm .*allowed",
    ):
        run_here(
            *SMALL, "gradient_checkpointing=true", "method.generator.norm=batch", "dry_run=true"
        )
