"""The training of the segmenter that measures fakes, once for the data of a run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.data.batch import channels
from gantrain.data.kinds.table import KINDS
from gantrain.data.loader import held_out_batches
from gantrain.data.shards import Field
from gantrain.data.transforms import SampleTransform
from gantrain.data.unpaired import DataSet
from gantrain.metrics.extractors import load_weights
from gantrain.metrics.feature_cache import load_cached_features, store_features
from gantrain.metrics.segmentation import WIDTHS, Segmenter

STEPS = 1000
BATCH = 8
_LEARNING_RATE = 1e-3
_CACHE_PREFIX = "unet-"

State = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingPairs:
    """The pairs from which a segmenter learns.

    batch: makes tensors on the device of the files' values. identity: a text that changes with the
    content of the pairs.
    """

    data: DataSet
    sample_transform: SampleTransform
    batch: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    identity: str


class SegmenterTraining:
    """The segmenter of a run's data: read from a file or from the cache, or trained on first use.

    names: the metrics that need it. fields: those of the data, by role. pairs: the training pairs,
    or None where the training set is not here. weights: a file of weights, or None. network: the
    segmenter. ignored: the class that is not scored, or None. damaged: a text for each damaged
    sample that this rank reads. Every rank calls the constructor. Raises UserError where the
    source is no label map, or where weights cannot be read or learnt.
    """

    def __init__(
        self,
        names: Sequence[str],
        world: World,
        *,
        fields: Mapping[str, Field],
        pairs: TrainingPairs | None,
        weights: str | None,
    ) -> None:
        self.names = ", ".join(names)
        self.world = world
        self.pairs = pairs
        self.damaged: set[str] = set()
        source = fields["source"]
        if not KINDS[source.kind].has_classes or source.classes is None:
            raise UserError(
                f"evaluate.metrics: {self.names} need class ids as the source, found images; choose"
                " others"
            )
        self.source = source
        self.ignored = None if source.ignore is None else source.classes - 1
        # The same first weights on every rank; the random numbers of training do not move on.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Segmenter(fields["target"].channels, source.classes)
        self.network = network.to(world.device)
        self.is_trained = self._load(weights)

    def _load(self, weights: str | None) -> bool:
        """Load the weights of a file or of the cache; return whether there are any.

        All ranks get the weights that rank 0 reads, so that they agree.
        """
        if weights:
            state = self.world.broadcast_from_rank0(lambda: read_weights(weights, self.network))
        elif self.pairs is None:
            where = (
                "data.train, which isn't here; give evaluate.weights={unet: FILE}, another"
                " evaluation's"
            )
            raise UserError(f"evaluate.metrics: {self.names} train their segmenter on {where}")
        else:
            key = cache_key(self.pairs.identity)
            state = self.world.broadcast_from_rank0(
                lambda: load_cached_features(key, _CACHE_PREFIX)
            )
        if state:
            self.network.load_state_dict(state)
        return bool(state)

    def train_once(self) -> None:
        """Train the segmenter where it has no weights yet. Every rank calls it, rank 0 trains."""
        if self.is_trained or self.pairs is None:
            return
        pairs = self.pairs
        state = self.world.broadcast_from_rank0(lambda: self._train(pairs))
        self.network.load_state_dict(state)
        self.is_trained = True

    def _train(self, pairs: TrainingPairs) -> State:
        state = train_segmenter(self.network, self._batches(pairs), self.ignored)
        # A better copy of damaged data has the same identity.
        if not self.damaged:
            store_features(cache_key(pairs.identity), state, _CACHE_PREFIX)
        return state

    def _batches(self, pairs: TrainingPairs) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the one-hot labels and the images of each step."""
        self.world.say(
            f"{self.names}: a segmenter learns from data.train in {STEPS} steps, once for these"
            " data"
        )
        random = torch.Generator().manual_seed(0)
        indices = torch.randint(len(pairs.data), (STEPS * BATCH,), generator=random).tolist()
        for raw in held_out_batches(
            pairs.data, pairs.sample_transform, indices, BATCH, damaged=self.damaged
        ):
            batch = pairs.batch(raw.fields)
            # The source may hold the boundary map of instances after its classes.
            labels = batch["source"][:, : channels(self.source)]
            yield labels, batch["target"]


def read_weights(path: str, network: Segmenter) -> State:
    """Return the weights of a segmenter that an evaluation trained. Raises UserError."""
    state = load_weights(path)
    if _shapes(state) != _shapes(network.state_dict()):
        raise UserError(
            f"evaluate.weights: {path} is no unet for these channels and classes; give another file"
        )
    return state


def _shapes(state: State) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def cache_key(identity: str) -> str:
    """Return the key of a segmenter's weights in the cache. identity: of its training pairs."""
    return f"{identity} {WIDTHS} {STEPS} {BATCH}"


def train_segmenter(
    network: Segmenter, batches: Iterable[tuple[Tensor, Tensor]], ignored: int | None
) -> State:
    """Train a segmenter on batches of one-hot labels (N, classes, H, W) and images.

    ignored: a class whose pixels do not count. Returns the weights, on the CPU. Raises UserError
    where there is no batch.
    """
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    steps_done = 0
    with torch.enable_grad():
        for step, (labels, images) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * (1 - step / STEPS)
            ids = labels.argmax(1)
            if ignored is not None:
                ids = ids.masked_fill(ids == ignored, -1)
            optimizer.zero_grad()
            logits = network(images.float())
            loss = F.cross_entropy(logits, ids, ignore_index=-1)
            # The mean over a batch of ignored pixels alone is NaN.
            loss = loss.nan_to_num()
            torch.autograd.backward(loss)
            optimizer.step()
            steps_done = step + 1
    if steps_done == 0:
        raise UserError(
            "evaluate.metrics: no sample of data.train can be read, so no segmenter can learn from"
            " them"
        )
    return {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
