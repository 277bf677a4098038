"""PatchNCE, the contrastive loss of patches."""

from collections.abc import Sequence

import numpy as np
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


def draw_places(
    maps: Sequence[Tensor], generators: Sequence[np.random.Generator], most: int
) -> list[Tensor]:
    """Draw the places to compare, for each of the maps (N, C, h, w).

    generators: of each of the N images. most: the largest number of places P in a map. Returns for
    each map (N, P) different numbers in [0, h * w), row by row.
    """
    all_places = []
    for x in maps:
        pixels = x.shape[2] * x.shape[3]
        count = min(most, pixels)
        places = [random.choice(pixels, count, replace=False) for random in generators]
        tensor = torch.tensor(np.stack(places))
        all_places.append(tensor.to(x.device, non_blocking=True))
    return all_places


def unit_vectors(maps: Tensor, places: Tensor) -> Tensor:
    """Return the vectors of a map (N, C, h, w) at its places (N, P), with length 1, (N, P, C)."""
    vectors = at_least_float32(maps).flatten(2).transpose(1, 2)  # N(hw)C
    chosen = vectors.gather(1, places[..., None].expand(-1, -1, vectors.shape[2]))
    return torch.nn.functional.normalize(chosen, dim=2, eps=1e-7)
