"""PatchNCE, the contrastive loss of patches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gantrain.losses.adversarial import at_least_float32


def patch_nce(queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the PatchNCE loss of each image, (N,) (Park et al., 2020, arXiv 2007.15651).

    The loss is low where each query is similar to the key of its own place, and not to the keys of
    the same image's other places. It is the cross-entropy over the similarities with all P places,
    a mean over places and layers, in float32 or better. Keys get no gradient.

    queries: for each layer, unit vectors (N, P, C) of P places in an image. keys: the same of the
    same places in another image. temperature: divides the similarities.
    """
    per_layer = []
    for query, key in zip(queries, keys, strict=True):
        with torch.autocast(query.device.type, enabled=False):
            query_vectors = at_least_float32(query)
            key_vectors = at_least_float32(key.detach())
            logits = query_vectors @ key_vectors.transpose(1, 2) / temperature  # NPP
        own_place = logits.diagonal(dim1=1, dim2=2)  # NP
        cross_entropy = logits.logsumexp(2) - own_place
        per_layer.append(cross_entropy.mean(1))
    return torch.stack(per_layer).mean(0)
