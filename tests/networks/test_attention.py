"""Self-attention, where networks have it."""

import pytest
import torch
from small_networks import flat, images, small

from gantrain.networks.blocks import Layers, SelfAttention

HAVING = {"unet": {"attention": 2}, "resnet": {"attention": True}, "patchgan": {"attention": 1}}


def test_it_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    module = SelfAttention(Layers("none"), 16).double()
    torch.nn.init.constant_(module.share, 0.7)
    x = torch.randn(2, 16, 5, 3, dtype=torch.float64)
    flattened = x.flatten(2)  # N, C, pixels
    f, g, h, v = (m.weight[..., 0, 0] for m in (module.key, module.query, module.value, module.out))
    scores = torch.einsum(
        "ac,nci,ad,ndj->nij", f, flattened, g, flattened
    )  # of pixel i for pixel j
    weights = scores.exp() / scores.exp().sum(1, keepdim=True)
    found = torch.einsum("cb,bd,ndi,nij->ncj", v, h, flattened, weights)
    torch.testing.assert_close(module(x), x + 0.7 * found.unflatten(2, (5, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", HAVING)
def test_networks_start_without_it_and_learn_it(name: str) -> None:
    network = small(name, **HAVING[name]).double()
    (module,) = (m for m in network.modules() if isinstance(m, SelfAttention))
    x = images(64, 64, dtype=torch.float64)
    before = flat(network(x))
    sum(t.square().mean() for t in before).backward()
    assert module.share.grad is not None
    assert module.share.grad.abs() > 0
    torch.nn.init.normal_(module.out.weight)
    assert all(map(torch.equal, before, flat(network(x)))), "its share is 0"
    torch.nn.init.ones_(module.share)
    after = flat(network(x))
    assert not torch.equal(before[-1], after[-1])
    sum(t.square().mean() for t in after).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize(("name", "level"), [("unet", 4), ("patchgan", 3)])
def test_a_level_that_is_not_there(name: str, level: int) -> None:
    with pytest.raises(
        ValueError, match=rf"{name}.attention: found {level}, allowed: a l\w+, 0 to {level - 1}"
    ):
        small(name, attention=level)
