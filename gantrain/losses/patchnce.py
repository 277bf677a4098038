"""The contrastive loss of patches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gantrain.losses.adversarial import at_least_float32


def patch_nce(queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float) -> Tensor:
    """PatchNCE of each image, (N,): how badly its places are told apart (Park et al., 2020, arXiv
    2007.15651).

    Takes, for each layer, unit vectors (N, P, C) of an image's places and of the same places in
    another image. Each query should be like the key of its own place and unlike those of the
    image's others: cross-entropy over the P likenesses, a mean over places and layers, in float32
    or better. Keys get no gradient."""
    losses = []
    for query, key in zip(queries, keys, strict=True):
        with torch.autocast(query.device.type, enabled=False):
            logits = (
                at_least_float32(query)
                @ at_least_float32(key.detach()).transpose(1, 2)
                / temperature
            )  # NPP
        losses.append((logits.logsumexp(2) - logits.diagonal(dim1=1, dim2=2)).mean(1))
    return torch.stack(losses).mean(0)
