"""`gantrain evaluate --real FOLDER --fake FOLDER`: one folder of images against another."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.wording import option
from gantrain.core.world import World
from gantrain.data.ranges import Range, range_text
from gantrain.evaluation.evaluate_options import STANDARD, best_first
from gantrain.evaluation.evaluate_results import Results
from gantrain.evaluation.folder_images import Files, FolderImages
from gantrain.inference.translate_files import images_by_stem
from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.registry import SEGMENTATION, of_set
from gantrain.recipe.sections import Evaluate

_PAIRED = ("l1", "psnr", "ssim")
_OF_MODELS = (*SEGMENTATION, "copy_index", "cycle_error")


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
    world: World,
    real: Path,
    fake: Path,
    options: Mapping[str, object],
    values_range: Range | None = None,
) -> tuple[Results, dict[str, object]]:
    """Return the metrics of a folder of fakes against one of real images. Every rank calls it.

    Files of the same names are pairs. Without pairs, only metrics of sets can be measured. options:
    those of a recipe's `evaluate`; without metrics, STANDARD. values_range: of 16-bit images and of
    floats; None stands for the range of their dtype. Raises UserError.
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
    if values_range is not None:
        content += f" {range_text(values_range)}"
    is_cached = metric_suite.load_reference("real", content)
    reads_real = bool(pair_metrics) or not is_cached
    images = FolderImages(world, values_range, reads_real=reads_real)
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
        "range": values_range,
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
