"""The options of `gantrain import`: what the file of a network does not show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImportOptions:
    """The user's statements about the files of networks.

    norm: `instance` or `none`, where the file could have either. None: the importer assumes one and
    reports it. dropout: dropout stays on in use. batch_statistics: batch norm takes the statistics
    of the image itself instead of the file's running statistics. The test.py of
    pytorch-CycleGAN-and-pix2pix has both on, unless --eval is given. unpaired: the training set had
    no pairs. labels: the source is a map of class ids, as SPADE's always is. instances: the last
    channel of the source holds the instance boundary map. upsampling: `normal` or `more`, of a
    SPADE generator whose file fits both. resize: the height and width to which `evaluate` and
    `translate` resize images, as the other project did. None: nothing is resized, and `evaluate`
    takes the centre 256x256.
    """

    norm: str | None = None
    dropout: bool = False
    batch_statistics: bool = False
    unpaired: bool = False
    labels: bool = False
    instances: bool = False
    upsampling: str | None = None
    resize: tuple[int, int] | None = None


DEFAULTS = ImportOptions()
