"""Reads users' images as the sources of a model, and resizes them to what its networks see."""

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.data.conversion_notes import of_one_image
from gantrain.data.kinds.table import KINDS
from gantrain.data.scale import Choice, TrainedScale
from gantrain.data.shards import Field
from gantrain.data.transforms import Sample, resize_sample
from gantrain.inference.input_images import instance_array, source_array
from gantrain.inference.sizes import NATIVE_ARGUMENT, OutputSize, SizeReport


class SourceReader:
    """Reads the images that a model takes, and reports what it converts and resizes.

    source, instances: the fields of the images and of the ids of their instances, or None for
    instances. scale: the scale at which the model was trained.
    """

    def __init__(self, source: Field, instances: Field | None, scale: TrainedScale) -> None:
        self.source = source
        self.instances = instances
        self.scale = scale
        self._reported_notes: set[str] = set()
        self._reported_sizes: set[bool] = set()  # lines on a loss of detail (True) and without one

    def read(
        self, image: object, instances: object = None, notes: list[str] | None = None
    ) -> Sample:
        """Read an image with its map of instances, and return HWC arrays by role.

        image, instances: paths, Pillow images or arrays. notes: takes sentences on what was
        converted. Raises UserError, which names a file.
        """
        notes = [] if notes is None else notes
        sample = {"source": source_array(image, self.source, notes)}
        if instances is not None:
            sample["instances"] = instance_array(instances, sample["source"], notes)
        return sample

    def check_instances(self, given: bool) -> None:
        """Raise UserError where ids of instances are missing, or not used by the model."""
        if given and not self.instances:
            raise UserError(
                "instances: found ids, allowed: none, since this model has learnt without; leave"
                " them out"
            )
        if self.instances and not given:
            where = "--instances FOLDER to `gantrain translate`, instances= in Python"
            raise UserError(
                "instances: found none, this model sees the edges of instances; give their ids:"
                f" {where}"
            )

    def at_size(self, sample: Sample, size: Choice | None) -> Sample:
        """Resize a sample to what the networks see.

        size: as in `Translator.translate`. Raises UserError.
        """
        kinds = {"source": KINDS[self.source.kind], "instances": KINDS["instances"]}
        for after in self.scale.sizes(sample["source"].shape[:2], size):
            sample = resize_sample(sample, after, kinds)
        return sample

    def report_notes(self, notes: list[str]) -> None:
        """Print conversions of images that Python code gives, each kind once."""
        for note in notes:
            if note not in self._reported_notes:
                self._reported_notes.add(note)
                say(of_one_image(note))

    def report_size(
        self, sample: Sample, seen: Sample, size: Choice | None, output_size: OutputSize
    ) -> None:
        """Print a line on the first image that is resized, and on the first that loses detail.

        seen: the sample as the networks see it.
        """
        report = SizeReport(self.scale, size, output_size, NATIVE_ARGUMENT)
        report.add(sample["source"].shape[:2], seen["source"].shape[:2])
        if report.is_notable and report.loses_detail not in self._reported_sizes:
            self._reported_sizes.add(report.loses_detail)
            say(f"translate: {report.line()}")
