"""The discriminators of all projects, whose convolutions stand in a row, each before its norm."""

import re
from collections.abc import Sequence

from gantrain.core.component import Options
from gantrain.importers.layout import DISCRIMINATOR_ROLE, Layout, Names, State, norm


def patchgan(state: State) -> Layout:
    """Recognise pytorch-CycleGAN-and-pix2pix's PatchGAN of any depth, and CUT's, anti-aliased."""
    antialias = any(key.endswith(".filt") for key in state)
    convolutions = [f"model.{index}" for index in _patchgan_indices(state, "model", antialias)]
    component = {
        "name": "patchgan",
        "layers": len(convolutions) - 2,
        "antialias": antialias,
        "norm": norm(state, biased=2),
    }
    return _layout(state, component, [convolutions])


def pixel(state: State) -> Layout:
    """Recognise pytorch-CycleGAN-and-pix2pix's discriminator of single pixels."""
    component = {"name": "pixel", "norm": norm(state, biased=1)}
    return _layout(state, component, [["net.0", "net.2", "net.5"]])


def pix2pixhd(state: State) -> Layout:
    """Recognise pix2pixHD's discriminators, of which the last one sees the full resolution.

    Each is one Sequential, or several ones for the features of its layers.
    """
    layers = _convolution_numbers(state, "scale0_layer{}.0.weight")
    if layers:
        inside = [f"_layer{layer}.0" for layer in layers]
        scales = _convolution_numbers(state, "scale{}_layer0.0.weight")
        names = [f"scale{scale}" for scale in scales]
    else:
        inside = [f".{index}" for index in _patchgan_indices(state, "layer0")]
        scales = _convolution_numbers(state, "layer{}.0.weight")
        names = [f"layer{scale}" for scale in scales]
    return _multiscale(state, names[::-1], inside)


def spade(state: State) -> Layout:
    """Recognise SPADE's discriminators, of which the first one sees the full resolution."""
    middle = _convolution_numbers(state, "discriminator_0.model{}.0.0.weight")
    inside = [".model0.0"]
    inside += [f".model{layer}.0.0" for layer in middle]
    inside.append(f".model{len(middle) + 1}.0")
    scales = _convolution_numbers(state, "discriminator_{}.model0.0.weight")
    return _multiscale(state, [f"discriminator_{scale}" for scale in scales], inside)


def _multiscale(state: State, names: Sequence[str], inside: Sequence[str]) -> Layout:
    """Return the layout of discriminators of several scales.

    names: of the discriminators, full resolution first. inside: what follows them in the names of
    their convolutions.
    """
    scales: list[list[str]] = []
    for name in names:
        scales.append([f"{name}{convolution}" for convolution in inside])
    component = {
        "name": "multiscale_patchgan",
        "scales": len(scales),
        "layers": len(inside) - 2,
        "spectral_norm": f"{scales[0][1]}.u" in state,
        "norm": norm(state),
    }
    return _layout(state, component, scales)


def _layout(state: State, component: Options, scales: Sequence[Sequence[str]]) -> Layout:
    """Return the layout of a discriminator by the names of its convolutions.

    scales: the names for each scale, full resolution first. component: lacks the width.
    """
    names: Names = {}
    for scale, convolutions in enumerate(scales):
        for layer, convolution in enumerate(convolutions):
            prefix, _, index = convolution.rpartition(".")
            ours = f"scales.{scale}.{layer}"
            names[convolution] = f"{ours}.0"
            names[f"{prefix}.{int(index) + 1}"] = f"{ours}.1"  # the norm
    first = state[f"{scales[0][0]}.weight"]
    component = {"width": first.shape[0], **component}
    return Layout(component, {"in_channels": first.shape[1]}, names, DISCRIMINATOR_ROLE)


def _convolution_numbers(state: State, pattern: str) -> list[int]:
    """Return the numbers in the place of {} in the pattern, over all convolutions, in order."""
    prefix, suffix = pattern.split("{}")
    expression = re.compile(rf"{re.escape(prefix)}(\d+){re.escape(suffix)}")
    numbers = []
    for key, tensor in state.items():
        match = expression.fullmatch(key)
        if match and tensor.ndim == 4:
            numbers.append(int(match[1]))
    return sorted(numbers)


def _patchgan_indices(state: State, prefix: str, antialias: bool = False) -> list[int]:
    """Return the indices of a PatchGAN's convolutions in the Sequential of that name.

    Raises KeyError where the file has other indices than a PatchGAN.
    """
    indices = _convolution_numbers(state, prefix + ".{}.weight")
    layers = len(indices) - 2
    if layers < 1:
        raise KeyError(prefix)
    kinds = _patchgan_layers(layers, antialias)
    if indices != [index for index, kind in enumerate(kinds) if kind == "convolution"]:
        raise KeyError(prefix)
    return indices


def _patchgan_layers(layers: int, antialias: bool) -> list[str]:
    """Return the kinds of a PatchGAN's layers in order; layers: convolutions that have a norm."""
    blur = ["blur"] if antialias else []
    kinds = ["convolution", "activation", *blur]
    for number in range(1, layers + 1):
        kinds += ["convolution", "norm", "activation"]
        if number < layers:  # the last one does not down-sample
            kinds += blur
    return [*kinds, "convolution"]
