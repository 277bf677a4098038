"""Reads users' images as the sources of a model, and resizes them to what its networks see."""

from collections.abc import Collection, Mapping

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.data.clip_counter import ClipCounter, clipping_ranges
from gantrain.data.conversion_notes import of_one_image
from gantrain.data.degradations.source_maker import fill_holes
from gantrain.data.kinds.table import KINDS
from gantrain.data.scale import Choice, TrainedScale
from gantrain.data.shards import Field
from gantrain.data.transforms import Sample, resize_sample
from gantrain.inference.input_images import input_array, source_array
from gantrain.inference.sizes import NATIVE_ARGUMENT, OutputSize, SizeReport


class SourceReader:
    """Reads the images that a model takes, and reports what it converts and resizes.

    source: the field of the images. inputs: the fields of what the method takes besides, by role.
    scale: the scale at which the model was trained. hole_fill: the fraction of the range that fills
    the holes of the images in training, where a degradation made them.
    """

    def __init__(
        self,
        source: Field,
        inputs: Mapping[str, Field],
        scale: TrainedScale,
        hole_fill: float | None = None,
    ) -> None:
        self.source = source
        self.hole_fill = hole_fill
        self.inputs = inputs
        self.scale = scale
        self.clip_counter = ClipCounter(clipping_ranges({"source": source, **inputs}))
        self._reported_notes: set[str] = set()
        self._has_reported_clipped = False
        self._reported_sizes: set[bool] = set()  # lines on a loss of detail (True) and without one

    def read(
        self, image: object, inputs: Mapping[str, object], notes: list[str] | None = None
    ) -> Sample:
        """Read an image with its further inputs, and return HWC arrays by role.

        image, and the values of inputs: paths, Pillow images or arrays. notes: takes sentences on
        what was converted. Raises UserError, which names a file.
        """
        notes = [] if notes is None else notes
        sample = {"source": source_array(image, self.source, notes)}
        for role, field in self.inputs.items():
            if role in inputs:
                sample[role] = input_array(
                    role, inputs[role], field=field, source=sample["source"], notes=notes
                )
        self.clip_counter.add({role: array[None] for role, array in sample.items()})
        return sample

    def check_inputs(self, given: Collection[str]) -> None:
        """Raise UserError for inputs that are missing, and for those that the model does not take.

        given: the roles of the inputs.
        """
        problems: list[str] = []
        for role in given:
            if role not in self.inputs:
                allowed = ", ".join(self.inputs) or "none"
                problems.append(
                    f"{role}: found an input that this model has not learnt with, allowed:"
                    f" {allowed}; leave it out"
                )
        for role, field in self.inputs.items():
            if role not in given:
                content = KINDS[field.kind].content
                problems.append(
                    f"{role}: found none, this model needs {content} beside its images, such as"
                    f" {field.member} of its training; give --input"
                    f" {role}=FOLDER to `gantrain translate`, {role}= in Python"
                )
        if problems:
            raise UserError("\n".join(problems))

    def at_size(self, sample: Sample, size: Choice | None) -> Sample:
        """Resize a sample to what the networks see.

        size: as in `Translator.translate`. Raises UserError.
        """
        fields = {"source": self.source, **self.inputs}
        kinds = {role: KINDS[field.kind] for role, field in fields.items()}
        for after in self.scale.sizes(sample["source"].shape[:2], size):
            sample = resize_sample(sample, after, kinds)
        if self.hole_fill is not None and "mask" in sample:
            # Training, too, makes holes in images of their final size.
            filled = fill_holes(sample["source"], sample["mask"], self.hole_fill, self.source)
            sample = {**sample, "source": filled}
        return sample

    def report_notes(self, notes: list[str]) -> None:
        """Print conversions of images that Python code gives, each kind once."""
        for note in notes:
            if note not in self._reported_notes:
                self._reported_notes.add(note)
                say(of_one_image(note))

    def report_clipped(self) -> None:
        """Print how many values of an image were clipped, for the first image with any."""
        for line in self.clip_counter.lines():
            if not self._has_reported_clipped:
                say(f"translate: {line}")
            self._has_reported_clipped = True

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
