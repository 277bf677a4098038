"""The time that convolutions take in fp32 and in bf16, on the recipe's shapes."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.methods.base import Method

_MOST = 3  # convolutions that are timed
_WORK = 4e8  # multiplications and additions of a timed forward pass, for each thread
_SMALLEST_SIDE = 16  # pixels, to which an image is cut
_FEWEST_CHANNELS = 64  # to which channels are cut; the matrix units want 32 or more
_SECONDS = 0.25  # after which no further round begins
_ROUNDS = 12  # that are timed at most


@dataclass(frozen=True)
class Convolution:
    """A convolution with the size of its input. kernel, stride: height and width, pixels."""

    is_transposed: bool
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    batch: int
    height: int
    width: int

    @property
    def work(self) -> float:
        """Multiplications and additions of the forward pass."""
        places = self.batch * self.height * self.width
        if not self.is_transposed:
            places //= self.stride[0] * self.stride[1]
        taps = self.kernel[0] * self.kernel[1]
        return 2.0 * places * taps * self.in_channels * self.out_channels / self.groups

    def fitted(self, batch: int, most: float) -> "Convolution":
        """Return the convolution with up to `batch` images.

        Where its work is more than `most`, its images are smaller. Where that is not enough, it has
        fewer channels, too.
        """
        images = max(1, min(batch, int(most / max(1.0, self.work))))
        fitted = dataclasses.replace(self, batch=images)
        while fitted.work > most:
            smaller = fitted._smaller()
            if smaller == fitted:
                break
            fitted = smaller
        return fitted

    def _smaller(self) -> "Convolution":
        """Return it with half the rows, columns or channels, down to a smallest size."""
        if max(self.height, self.width) > _SMALLEST_SIDE:
            if self.height >= self.width:
                return dataclasses.replace(self, height=max(_SMALLEST_SIDE, self.height // 2))
            return dataclasses.replace(self, width=max(_SMALLEST_SIDE, self.width // 2))
        can_be_halved = (
            self.groups == 1 and min(self.in_channels, self.out_channels) >= 2 * _FEWEST_CHANNELS
        )
        if not can_be_halved:
            return self
        return dataclasses.replace(
            self, in_channels=self.in_channels // 2, out_channels=self.out_channels // 2
        )

    def as_list(self) -> list[object]:
        """Return its values as JSON holds them."""
        values: list[object] = []
        for value in dataclasses.astuple(self):
            values.append(list(value) if isinstance(value, tuple) else value)
        return values


# A residual generator's, where a recipe's own can't be had.
STANDARD = (
    Convolution(
        is_transposed=False,
        in_channels=64,
        out_channels=128,
        kernel=(3, 3),
        stride=(2, 2),
        groups=1,
        batch=1,
        height=128,
        width=128,
    ),
    Convolution(
        is_transposed=False,
        in_channels=256,
        out_channels=256,
        kernel=(3, 3),
        stride=(1, 1),
        groups=1,
        batch=1,
        height=64,
        width=64,
    ),
    Convolution(
        is_transposed=True,
        in_channels=128,
        out_channels=64,
        kernel=(3, 3),
        stride=(2, 2),
        groups=1,
        batch=1,
        height=64,
        width=64,
    ),
)


class Times(NamedTuple):
    """The shortest time of a round in each precision."""

    fp32_microseconds: int
    bf16_microseconds: int

    @property
    def ratio(self) -> float:
        """How many times as fast as fp32 bf16 is."""
        return self.fp32_microseconds / self.bf16_microseconds

    @property
    def is_bf16_worthwhile(self) -> bool:
        """Return whether bf16 is at least 1.2 times as fast, exactly."""
        return 10 * self.fp32_microseconds >= 12 * self.bf16_microseconds


def list_convolutions(sketch: Method, channels: int, size: tuple[int, int]) -> list[Convolution]:
    """List the convolutions of one translation of a method, on the meta device.

    The list is empty where the method cannot run there. channels: the source's. size: height and
    width of the images, pixels.
    """
    if any(not parameter.is_meta for parameter in sketch.networks.parameters()):
        return []  # a network from outside that needs storage, and would need time here
    method = copy.deepcopy(sketch)
    listed: list[Convolution] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        height, width = inputs[0].shape[2:]
        convolution = Convolution(
            is_transposed=isinstance(module, nn.ConvTranspose2d),
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=(module.kernel_size[0], module.kernel_size[1]),
            stride=(module.stride[0], module.stride[1]),
            groups=module.groups,
            batch=1,
            height=height,
            width=width,
        )
        listed.append(convolution)

    for module in method.networks.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(note)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            method.translate({"source": torch.empty((2, channels, *size), device="meta")})
    except (
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
    ):  # it reads values, or further fields
        pass
    return listed


def choose_convolutions(
    listed: Sequence[Convolution], batch: int, threads: int
) -> tuple[Convolution, ...]:
    """Choose the convolutions with the most work, cut to what can be timed at once.

    STANDARD stands for an empty list. batch: images of a backward. threads: of this rank.
    """
    chosen: list[Convolution] = []
    for convolution in sorted(listed or STANDARD, key=_by_work):
        fitted = convolution.fitted(batch, _WORK * threads)
        if fitted not in chosen:
            chosen.append(fitted)
    return tuple(chosen[:_MOST])


def _by_work(convolution: Convolution) -> tuple[float, int]:
    """Sort by work, to a factor of two, and then larger images first.

    A cut changes the ratio of larger images less.
    """
    magnitude = round(math.log2(max(1.0, convolution.work)))
    return -magnitude, -convolution.height * convolution.width


def as_json(convolutions: Sequence[Convolution]) -> list[list[object]]:
    """Return the convolutions' values as JSON holds them."""
    return [convolution.as_list() for convolution in convolutions]


def measure(
    convolutions: Sequence[Convolution],
    device: torch.device,
    *,
    backward: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Time the passes of the convolutions, in turns in fp32 and in bf16.

    backward: time the backward passes, too, as training has them. It takes no random numbers and
    leaves torch's settings as they are. The first round, which prepares the library's code, does
    not count.
    """
    start_seconds = clock()
    cases = [_Case(convolution, device, backward) for convolution in convolutions]
    _time_round(cases, device, False, clock)
    _time_round(cases, device, True, clock)
    fp32: list[float] = []
    bf16: list[float] = []
    while not fp32 or (len(fp32) < _ROUNDS and clock() - start_seconds < _SECONDS):
        fp32.append(_time_round(cases, device, False, clock))
        bf16.append(_time_round(cases, device, True, clock))
    return Times(_microseconds(min(fp32)), _microseconds(min(bf16)))


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e6))


def _time_round(
    cases: "Sequence[_Case]", device: torch.device, bf16: bool, clock: Callable[[], float]
) -> float:
    before = clock()
    for case in cases:
        case.run(bf16)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - before


class _Case:
    """A convolution's tensors, with constant values."""

    def __init__(self, convolution: Convolution, device: torch.device, backward: bool) -> None:
        self.convolution = convolution
        self.backward = backward
        self.device = device
        shape = (convolution.batch, convolution.in_channels, convolution.height, convolution.width)
        in_channels = convolution.in_channels
        out_channels = convolution.out_channels
        if convolution.is_transposed:
            weight_shape = (in_channels, out_channels // convolution.groups, *convolution.kernel)
        else:
            weight_shape = (out_channels, in_channels // convolution.groups, *convolution.kernel)
        source = torch.full(shape, 0.5, device=device)
        self.sources = {
            False: source.requires_grad_(),
            True: source.detach().bfloat16().requires_grad_(),
        }
        self.weight = torch.full(weight_shape, 0.01, device=device, requires_grad=True)

    def run(self, bf16: bool) -> None:
        """Run the passes as a step does: weights are fp32, and autocast casts them."""
        shape = self.convolution
        function = F.conv_transpose2d if shape.is_transposed else F.conv2d
        padding = ((shape.kernel[0] - 1) // 2, (shape.kernel[1] - 1) // 2)
        source = self.sources[bf16]
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        with torch.set_grad_enabled(self.backward), autocast:
            result = function(
                source, self.weight, stride=shape.stride, padding=padding, groups=shape.groups
            )
        if self.backward:
            torch.autograd.grad(result, [source, self.weight], torch.ones_like(result))
