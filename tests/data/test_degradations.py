"""The contract of degradations, over their table; compositions and their random numbers."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from degrading import a_picture, all_checksums, checksum, degrade
from pydantic import TypeAdapter, ValidationError

from gantrain.core.component_schema import union
from gantrain.core.errors import UserError
from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.degradations.composition import Composition
from gantrain.data.degradations.degradation_table import DEGRADATIONS, build_degradation
from gantrain.data.degradations.random_streams import split

# The numbers of channels that each degradation takes. Others take any number.
CHANNELS = {"real_world": (1, 3), "jpeg": (1, 3), "grey": (3,)}
ANY_CHANNELS = (1, 2, 3, 4, 7)
# Those that draw nothing.
FIXED = {"bicubic", "grey"}
NOISE_25 = {"name": "noise", "sigma": [25.0, 25.0]}


def test_the_table_is_that_of_the_design() -> None:
    assert set(DEGRADATIONS) == {"bicubic", "real_world", "noise", "jpeg", "grey", "mask"}


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_result_has_the_stated_size_channels_and_range(name: str) -> None:
    degradation = build_degradation(name)
    for channels in CHANNELS.get(name, ANY_CHANNELS):
        image = a_picture(channels=channels)
        for position in range(3):
            degraded = degrade(name, image, position=position)
            height, width = degradation.size_after(64, 96)
            assert (height * degradation.scale, width * degradation.scale) == (64, 96)
            assert degraded.image.shape == (height, width, degradation.channels_after(channels))
            assert degraded.image.dtype == np.float32
            assert 0 <= degraded.image.min() < degraded.image.max() <= 1
            assert (degraded.mask is not None) == degradation.gives_mask
            if degraded.mask is not None:
                assert degraded.mask.shape == (height, width, 1)
                assert degraded.mask.dtype == np.float32


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_seed_and_the_position_alone_decide(name: str) -> None:
    image = a_picture()
    first = checksum(degrade(name, image, seed=3, position=5))
    assert checksum(degrade(name, image, seed=3, position=5)) == first
    others = {
        checksum(degrade(name, image, seed=3, position=6)),
        checksum(degrade(name, image, seed=4, position=5)),
    }
    assert len(others | {first}) == (1 if name in FIXED else 3)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_image_is_not_changed(name: str) -> None:
    image = a_picture()
    image.flags.writeable = False
    before = image.copy()
    degrade(name, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_flipped_and_turned_view_gives_what_its_copy_gives(name: str) -> None:
    view = np.rot90(a_picture()[:, ::-1], 3)
    assert not view.flags.c_contiguous
    copied = np.ascontiguousarray(view)
    assert checksum(degrade(name, view)) == checksum(degrade(name, copied))


@pytest.mark.slow
def test_another_process_with_other_threads_gives_the_same_bits() -> None:
    """A worker has one thread, and the main process has several."""
    code = "import degrading; print(*degrading.all_checksums())"
    folder = str(Path(__file__).parent)
    environment = {"PYTHONPATH": ":".join([folder, *sys.path]), "PATH": "/usr/bin:/bin"}
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert [int(text) for text in done.stdout.split()] == all_checksums()


def test_the_table_needs_no_torch() -> None:
    """Whose import takes a second."""
    code = "import sys, gantrain.data.degradations.degradation_table; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", CHANNELS)
def test_other_channels_are_refused_in_one_line(name: str) -> None:
    for channels in set(ANY_CHANNELS) - set(CHANNELS[name]):
        with pytest.raises(UserError, match=rf"^{name} takes .* have {channels}$"):
            degrade(name, a_picture(channels=channels))


@pytest.mark.parametrize("name", ["bicubic", "real_world"])
def test_a_size_that_the_scale_does_not_divide_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^an image of 64x90 is to become 4 times smaller; crop"):
        degrade(name, a_picture(64, 90))


# The options.

RECIPE = TypeAdapter(union(DEGRADATIONS))


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_option_has_a_meaning_and_a_default(name: str) -> None:
    cls = DEGRADATIONS[name]
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(cls) or "", re.M)
    parameters = inspect.signature(cls).parameters.values()
    assert documented == [parameter.name for parameter in parameters]
    for parameter in parameters:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_recipe_s_defaults_are_those_of_the_constructor(name: str) -> None:
    """Also after a recipe is written as a file, whose ranges are lists."""
    validated = RECIPE.validate_python(name)
    stored = validated.model_dump(mode="json")
    assert RECIPE.validate_python(stored) == validated
    image = a_picture()
    assert checksum(degrade(stored, image)) == checksum(degrade(name, image))


def test_one_number_is_a_range() -> None:
    validated = RECIPE.validate_python({"name": "noise", "sigma": 25})
    assert validated.sigma == (25.0, 25.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "bicubic", "scale": 5}, r"2, 3, 4 or 8"),
        ({"name": "noise", "sigma": [30, 20]}, r"allowed: \[lowest, highest\], such as \[20"),
        ({"name": "noise", "sigma": "25"}, r"allowed: a number, or \[lowest, highest\]"),
        ({"name": "noise", "sigma": True}, r"allowed: a number, or \[lowest, highest\]"),
        ({"name": "noise", "sigma": 256}, r"less than or equal to 255"),
        ({"name": "jpeg", "quality": 101}, r"less than or equal to 100"),
        ({"name": "jpeg", "quality": [0, 30]}, r"greater than or equal to 1"),
        ({"name": "jpeg", "quality": 10.5}, r"valid integer"),
        ({"name": "mask", "fraction": 1}, r"less than or equal to 0.95"),
        ({"name": "mask", "shapes": []}, r"allowed: one or several of strokes, boxes, borders"),
        ({"name": "mask", "shapes": ["boxes", "boxes"]}, r"each of them once"),
        ({"name": "mask", "fill": 2}, r"less than or equal to 1"),
        ({"name": "real_world", "sinc": 1.5}, r"less than or equal to 1"),
        ({"name": "real_world", "kernels": {"isotropic": 0}}, r"at least one frequency above 0"),
        ({"name": "real_world", "resize": {}}, r"at least one frequency above 0"),
        ({"name": "real_world", "resize": {"left": 1}}, r"'up', 'down' or 'keep'"),
        ({"name": "real_world", "resize_factor": [0.2, 0.5]}, r"with 1 between them"),
        ({"name": "grey", "scale": 2}, r"Extra inputs"),
    ],
)
def test_wrong_options_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RECIPE.validate_python(config)


# Compositions.


def test_a_list_degrades_in_its_order() -> None:
    image = a_picture()
    smaller = {"name": "bicubic", "scale": 2}
    both = degrade([smaller, {"name": "jpeg", "quality": [30, 30]}], image).image
    alone = degrade({"name": "jpeg", "quality": [30, 30]}, degrade(smaller, image).image).image
    np.testing.assert_array_equal(both, alone)
    other_order = degrade([{"name": "jpeg", "quality": [30, 30]}, smaller], image).image
    assert np.abs(both - other_order).max() > 0.01


def test_the_scale_of_a_list_is_the_product() -> None:
    parts = [{"name": "bicubic", "scale": 2}, NOISE_25, {"name": "bicubic", "scale": 3}, "grey"]
    composition = build_degradation(parts)
    assert composition.scale == 6
    assert composition.channels_after(3) == 1
    assert degrade(parts, a_picture()[:60]).image.shape == (10, 16, 1)
    with pytest.raises(UserError, match="6 times smaller"):
        degrade(parts, a_picture())


def test_channels_are_checked_along_a_list() -> None:
    with pytest.raises(UserError, match="grey takes sRGB images"):
        build_degradation(["grey", "grey"]).channels_after(3)


def test_one_degradation_is_a_list_of_one() -> None:
    image = a_picture()
    assert checksum(degrade("noise", image)) == checksum(degrade(["noise"], image))


def test_holes_come_last() -> None:
    composition = build_degradation(["bicubic", "mask"])
    assert composition.gives_mask
    assert not build_degradation("bicubic").gives_mask
    with pytest.raises(UserError, match=r"^degradation 1 of 2 makes holes, .*; put it last$"):
        build_degradation(["mask", "jpeg"])


def test_a_degradation_does_not_change_the_draws_of_others() -> None:
    """Those before it draw other numbers, or more of them; those after it are added."""
    image = a_picture()
    masks = [
        degrade([before, "mask"], image).mask
        for before in ("jpeg", "noise", {"name": "noise", "kind": "poisson"})
    ]
    assert masks[0] is not None
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    short = degrade(["noise"], image).image
    flat = {"name": "mask", "fraction": [0.1, 0.1]}
    longer = degrade(["noise", flat], image)
    assert longer.mask is not None
    outside = longer.mask[..., 0] == 0
    np.testing.assert_array_equal(longer.image[outside], short[outside])


def test_equal_degradations_of_a_list_draw_other_numbers() -> None:
    image = np.full((32, 32, 1), 0.5, np.float32)
    once = degrade([NOISE_25], image).image - image
    twice = degrade([NOISE_25, NOISE_25], image).image - image
    second = twice - once
    assert abs(np.corrcoef(once.ravel(), second.ravel())[0, 1]) < 0.1
    assert second.std() == pytest.approx(25 / 255, rel=0.1)


def test_compositions_may_be_nested() -> None:
    inner = build_degradation([{"name": "bicubic", "scale": 2}, "jpeg"])
    outer = Composition([inner, build_degradation("mask")])
    degraded = outer.degrade(a_picture(), random_numbers(0, 0, Purpose.DEGRADATION))
    assert outer.scale == 2
    assert degraded.mask is not None
    assert degraded.image.shape == (32, 48, 3)


def test_streams_do_not_depend_on_the_number_of_later_ones() -> None:
    few = split(random_numbers(0, 0, Purpose.DEGRADATION), 2)
    many = split(random_numbers(0, 0, Purpose.DEGRADATION), 9)
    for first, second in zip(few, many[:2], strict=True):
        np.testing.assert_array_equal(first.random(5), second.random(5))
    numbers = np.stack([stream.random(4000) for stream in many])
    correlations = np.corrcoef(numbers) - np.eye(9)
    assert np.abs(correlations).max() < 0.1
