"""PatchNCE against its formula, written out for each image, layer and place."""

import numpy as np
import pytest
import torch

from gantrain.losses.patchnce import patch_nce


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def layers(seed, shapes=((2, 6, 4), (2, 3, 5))):
    rng = np.random.default_rng(seed)
    return [unit(rng, *shape) for shape in shapes]


def formula(queries, keys, temperature):
    """Cross-entropy to class 0 of [own key, the image's other keys]: (N,)."""
    losses = np.zeros((len(queries), len(queries[0])))
    for i, (query, key) in enumerate(zip(queries, keys, strict=True)):
        for n in range(len(query)):
            for p in range(len(query[n])):
                others = [q for q in range(len(key[n])) if q != p]
                likeness = np.array([query[n, p] @ key[n, q] for q in [p, *others]]) / temperature
                losses[i, n] -= np.log(np.exp(likeness[0]) / np.exp(likeness).sum()) / len(query[n])
    return losses.mean(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_formula(temperature, dtype, tolerance):
    q, k = layers(0), layers(1)
    ours = patch_nce(
        [torch.tensor(x, dtype=dtype) for x in q],
        [torch.tensor(x, dtype=dtype) for x in k],
        temperature,
    )
    assert ours.shape == (2,)
    np.testing.assert_allclose(ours.numpy(), formula(q, k, temperature), rtol=tolerance)


def test_keys_get_no_gradient_and_images_are_apart():
    q, k = ([torch.tensor(x, requires_grad=True) for x in layers(i)] for i in range(2))
    first = torch.autograd.grad(patch_nce(q, k, 0.07)[0], q, retain_graph=True)
    assert all(g[0].abs().sum() > 0 and g[1].abs().sum() == 0 for g in first)
    patch_nce(q, k, 0.07).sum().backward()
    assert all(x.grad is None for x in k)
    # The same image is told apart best.
    assert (patch_nce(q, q, 0.07) < patch_nce(q, k, 0.07)).all()


def test_bfloat16_is_computed_in_float32():
    q, k = ([torch.tensor(x).bfloat16() for x in layers(i)] for i in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        ours = patch_nce(q, k, 0.07)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, patch_nce([x.float() for x in q], [x.float() for x in k], 0.07))
