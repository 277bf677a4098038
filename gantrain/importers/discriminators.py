"""Discriminators, whose convolutions stand in a row, each before its norm: of all projects."""

import re
from collections.abc import Iterable
from typing import Any

from gantrain.importers.layout import Found, Names, State, norm


def _found(state: State, *scales: Iterable[str], biased: int = 0, **component: Any) -> Found:
    """Of its convolutions by scale, full resolution first."""
    names: Names = {}
    for scale, convs in enumerate(scales):
        for i, conv in enumerate(convs):
            before, _, number = conv.rpartition(".")
            names |= {
                conv: f"scales.{scale}.{i}.0",
                f"{before}.{int(number) + 1}": f"scales.{scale}.{i}.1",
            }
    first = state[f"{next(iter(names))}.weight"]
    component = {"width": first.shape[0], **component, "norm": norm(state, biased)}
    return Found(component, {"in_channels": first.shape[1]}, names, "discriminator")


def _numbers(state: State, pattern: str) -> list[int]:
    """Those that convolutions have where `pattern` has {}, in order."""
    prefix, suffix = (re.escape(part) for part in pattern.split("{}"))
    matches = (
        re.fullmatch(rf"{prefix}(\d+){suffix}", key)
        for key, tensor in state.items()
        if tensor.ndim == 4
    )
    return sorted(int(match[1]) for match in matches if match)


def _patch(state: State, prefix: str, antialias: bool = False) -> list[int]:
    """Where a PatchGAN's convolutions stand in the Sequential of that name; raises KeyError
    where they don't.
    """
    places = _numbers(state, prefix + ".{}.weight")
    # An activation and, but for the first, a norm are behind each, and a blur behind each that
    # halves.
    layers, step = len(places) - 2, 4 if antialias else 3
    if layers < 1 or places != [
        0,
        *(step * i + step - 1 for i in range(layers)),
        step * layers + 2,
    ]:
        raise KeyError(prefix)
    return places


def patchgan(state: State) -> Found:
    """pytorch-CycleGAN-and-pix2pix's of any depth, and CUT's, anti-aliased."""
    antialias = any(key.endswith(".filt") for key in state)
    convs = [f"model.{place}" for place in _patch(state, "model", antialias)]
    return _found(
        state, convs, biased=2, name="patchgan", layers=len(convs) - 2, antialias=antialias
    )


def pixel(state: State) -> Found:
    """pytorch-CycleGAN-and-pix2pix's of single pixels."""
    return _found(state, ["net.0", "net.2", "net.5"], biased=1, name="pixel")


def pix2pixhd(state: State) -> Found:
    """pix2pixHD's, the last of full resolution, each in one piece or, for the features of its
    layers, in several.
    """
    inside = [f"_layer{n}.0" for n in _numbers(state, "scale0_layer{}.0.weight")]
    names = [f"scale{i}" for i in _numbers(state, "scale{}_layer0.0.weight")]
    if not inside:
        inside = [f".{place}" for place in _patch(state, "layer0")]
        names = [f"layer{i}" for i in _numbers(state, "layer{}.0.weight")]
    return _multiscale(state, [[f"{name}{conv}" for conv in inside] for name in reversed(names)])


def spade(state: State) -> Found:
    """SPADE's, the first of full resolution."""
    inner = _numbers(state, "discriminator_0.model{}.0.0.weight")
    inside = ["model0.0", *(f"model{n}.0.0" for n in inner), f"model{len(inner) + 1}.0"]
    scales = _numbers(state, "discriminator_{}.model0.0.weight")
    return _multiscale(state, [[f"discriminator_{i}.{conv}" for conv in inside] for i in scales])


def _multiscale(state: State, scales: list[list[str]]) -> Found:
    options = {
        "scales": len(scales),
        "layers": len(scales[0]) - 2,
        "spectral_norm": f"{scales[0][1]}.u" in state,
    }
    return _found(state, *scales, name="multiscale_patchgan", **options)
