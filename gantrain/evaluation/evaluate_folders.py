"""`gantrain evaluate --real FOLDER --fake FOLDER`: one folder of images against another."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.wording import option
from gantrain.core.world import World
from gantrain.data import channels
from gantrain.data.batch import normalise
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import decode
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field
from gantrain.evaluation.evaluate_options import STANDARD, best_first
from gantrain.evaluation.evaluate_results import Results
from gantrain.inference.translate_files import images_by_stem
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.registry import SEGMENTATION, of_set
from gantrain.recipe.sections import Evaluate

_PAIRED = ("l1", "psnr", "ssim")
_OF_MODELS = (*SEGMENTATION, "copy_index", "cycle_error")

Files = Mapping[str, Path]  # by what pairs them: the sub-path without the extension


@dataclass(frozen=True)
class _FolderPair:
    """A folder of real images and one of fakes, with their files."""

    real: Path
    fake: Path
    real_files: Files
    fake_files: Files

    @property
    def has_pairs(self) -> bool:
        """Return whether each file of one folder has a file of the same name in the other."""
        return self.real_files.keys() == self.fake_files.keys()

    def fingerprint(self) -> str:
        """Return a digest of the contents of the real files."""
        content = hashlib.sha256()
        for name in sorted(self.real_files):
            content.update(hashlib.sha256(self.real_files[name].read_bytes()).digest())
        return content.hexdigest()


def evaluate_folders(
    world: World, real: Path, fake: Path, options: Mapping[str, object]
) -> tuple[Results, dict[str, object]]:
    """Return the metrics of a folder of fakes against one of real images. Every rank calls it.

    Files of the same names are pairs. Without pairs, only metrics of sets can be measured. options:
    those of a recipe's `evaluate`; without metrics, STANDARD. Raises UserError.
    """
    folders = _FolderPair(
        real=real,
        fake=fake,
        real_files=images_by_stem(option("real"), real, world.say),
        fake_files=images_by_stem(option("fake"), fake, world.say),
    )
    settings = _settings(folders, options)
    pair_metrics = [name for name in settings.metrics if not of_set(name)]
    _check_metrics(settings.metrics, pair_metrics, folders)
    if not folders.has_pairs and "metrics" not in options:
        world.say(f"{', '.join(_PAIRED)} are left out: they need files of one name in both folders")
    metric_suite = world.node_leader_first(
        lambda: MetricSuite(
            settings.metrics,
            world.device,
            settings.weights,
            total=len(folders.fake_files),
            crop_border=settings.crop_border,
        )
    )
    content = folders.fingerprint()
    is_cached = metric_suite.load_reference("real", content)
    images = _Images(world)
    if pair_metrics:
        for target, made in images.read(folders.real_files, folders.fake_files):
            metric_suite.add(made, target)
    else:
        for (image,) in images.read(folders.fake_files):
            metric_suite.add_images("fake", image)
        for (image,) in images.read({} if is_cached else folders.real_files):
            metric_suite.add_images("real", image)
    images.report()
    if not is_cached:
        metric_suite.store_reference("real", content)
    name = fake.absolute().name
    about = {
        "real": str(real),
        "fake": str(fake),
        "crop_border": settings.crop_border,
        "content": {name: content},
    }
    return {name: metric_suite.results()}, about


def _settings(folders: _FolderPair, options: Mapping[str, object]) -> Evaluate:
    """Return the options as settings of `evaluate`. Raises UserError."""
    metrics = [*_PAIRED, *STANDARD] if folders.has_pairs else list(STANDARD)
    return check(Evaluate, best_first({"metrics": metrics, **options}), "evaluate.")


def _check_metrics(metrics: list[str], pair_metrics: list[str], folders: _FolderPair) -> None:
    """Refuse metrics that these folders cannot have. Raises UserError."""
    of_models = [name for name in metrics if name in _OF_MODELS]
    if of_models:
        raise UserError(
            f"{option('metrics')}: {', '.join(of_models)} need a model and its sources; give a"
            " checkpoint"
        )
    if pair_metrics and not folders.has_pairs:
        first = min(folders.real_files.keys() ^ folders.fake_files.keys())
        folder = folders.real if first in folders.real_files else folders.fake
        raise UserError(
            f"{option('metrics')}: {', '.join(pair_metrics)} need pairs, files of one name in both"
            f" folders; {first} is in {folder} alone"
        )


class _Images:
    """Reads this rank's images, and collects what is wrong with them and what was converted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.problems: list[str] = []
        self.notes: list[str] = []

    def read(self, *folders: Files) -> Iterator[list[Tensor]]:
        """Yield this rank's images, one of each folder.

        It ends at an image that cannot be used, which `report` raises on all ranks.
        """
        for name in sorted(folders[0])[self.world.rank :: self.world.size]:
            files = [folder[name] for folder in folders]
            try:
                images = [read_image(file, self.world.device, self.notes) for file in files]
                images = _with_equal_channels(images)
                _check_sizes(files, images)
            except ValueError as e:
                self.problems.append(str(e))
                return
            yield images

    def report(self) -> None:
        """Print what was converted. Every rank calls it. Raises UserError for bad images."""
        self.world.raise_on_all_ranks(self.problems)
        notes: list[str] = []
        for of_rank in self.world.gather(self.notes):
            notes += of_rank
        for line in summarise(notes):
            self.world.say(line)


def _with_equal_channels(images: list[Tensor]) -> list[Tensor]:
    """Return the images with three channels where a grey one stands beside one in colour."""
    if len({image.shape[1] for image in images}) == 1:
        return images
    return [image.expand(-1, 3, -1, -1) for image in images]


def _check_sizes(files: list[Path], images: list[Tensor]) -> None:
    """Refuse a pair of images of different sizes. Raises UserError."""
    if len({image.shape for image in images}) == 1:
        return
    names = " and ".join(str(file) for file in files)
    sizes = " and ".join("x".join(map(str, image.shape[2:])) for image in images)
    raise UserError(f"{option('fake')}: {names} have sizes {sizes}; give pairs of one size")


def read_image(file: Path, device: torch.device, notes: list[str]) -> Tensor:
    """Read an image of any depth as (1, 1 or 3, H, W) in [-1, 1], float64.

    Alpha is composited over white. notes: takes sentences on what was converted. Raises UserError.
    """
    try:
        array = decode(file.read_bytes(), notes=notes)
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e}); remove it or give it again") from None
    if channels.has_alpha(array.shape[2]):
        with_alpha = array
        array = KINDS["image"].fit(array, (array.shape[2] - 1, "uint8"))
        if array is not with_alpha:
            notes.append(channels.note(with_alpha.shape[2], array.shape[2]))
    height, width, bands = array.shape
    if bands not in (1, 3):
        raise UserError(f"{file}: has {bands} channels, allowed: 1 or 3; give it without its alpha")
    size = (height, width)
    field = Field(
        member="image", channels=bands, dtype=array.dtype.name, min_size=size, max_size=size
    )
    return normalise(torch.from_numpy(array)[None], field, torch.float64, device)
