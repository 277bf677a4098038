"""Arrays as `numpy.save` writes them."""

import io

import numpy as np

from gantrain.data.formats.image_format import Array, ImageFormat


class NumpyFormat(ImageFormat):
    """`.npy` files, of any number of channels. Pickled objects are refused."""

    extensions = ("npy",)

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"\x93NUMPY")

    def open(self, data: bytes) -> Array:
        array: Array = np.load(io.BytesIO(data), allow_pickle=False)
        return array
