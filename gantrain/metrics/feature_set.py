"""The features of a set of images, collected while the images arrive."""

import torch
from torch import Tensor

from gantrain.core.amounts import ceil_div
from gantrain.core.world import gathered
from gantrain.metrics.extractors import Extractor
from gantrain.metrics.features import Features

EXTRACTOR_BATCH = 32  # fixed, because features on a GPU depend on the size of the batch
# On a CPU, features of several images are the same in batches of every size (measured), so that the
# last batch is filled only to a multiple of this.
_CPU_MULTIPLE = 8


class FeatureSet:
    """A set of images as one extractor describes it; each rank adds its own images.

    cached: the features, once all of them are known. mixed: the features' shapes depend on the
    images' sizes, and these differ.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.mixed = False
        self.cached: Features | None = None
        self._waiting: list[Tensor] = []
        self._extracted: list[Tensor] = []

    def add(self, images: Tensor) -> None:
        """Add uint8 images, (N, 3, H, W)."""
        if self._waiting and self._waiting[0].shape != images.shape[1:]:
            self._extract()
        for image in images:
            self._waiting.append(image)
            if len(self._waiting) == EXTRACTOR_BATCH:
                self._extract()

    def features(self) -> Features:
        """Return the features of all images so far. Every rank calls it."""
        if self.cached is None:
            self.cached = self._collect()
        return self.cached

    def _extract(self) -> None:
        images = torch.stack(self._waiting)
        self._waiting = []
        size = EXTRACTOR_BATCH
        if images.device.type == "cpu":
            size = ceil_div(len(images), _CPU_MULTIPLE) * _CPU_MULTIPLE
        filling = images[:1].expand(size - len(images), -1, -1, -1)
        features = self.extractor(torch.cat([images, filling]))
        self._extracted.append(features[: len(images)].float().cpu())

    def _collect(self) -> Features:
        if self._waiting:
            self._extract()
        # A rank without images does not know the shape of a feature.
        shapes: set[torch.Size] = set()
        for of_rank in gathered({features.shape[1:] for features in self._extracted}):
            shapes |= of_rank
        self.mixed = len(shapes) > 1
        if self.mixed or not shapes:
            return Features(torch.zeros(0))
        (shape,) = shapes
        return Features(torch.cat([torch.zeros(0, *shape), *self._extracted]))
