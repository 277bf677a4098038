"""What a recipe's keys may hold: every number has bounds, every wrong value is told in the
recipe's own words.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from gantrain.data.degradations.degradation_table import DEGRADATIONS
from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
from gantrain.methods import METHODS
from gantrain.networks import NETWORKS
from gantrain.recipe import schema as recipe
from gantrain.recipe.field_types import MAX_EPOCHS, MAX_IMAGES

Schema = dict[str, Any]


def numbers(schema: Any, place: str = "") -> Iterator[tuple[str, Schema]]:
    """Every integer and number of a JSON Schema with its place."""
    if isinstance(schema, dict):
        if (
            schema.get("type") in ("integer", "number")
            and "enum" not in schema
            and "const" not in schema
        ):
            yield place, schema
        for key, value in schema.items():
            if key not in ("default", "enum", "const"):
                yield from numbers(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from numbers(value, f"{place}/{index}")


def test_every_number_of_every_component_has_bounds() -> None:
    schema = recipe.schema()
    losses = (ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION)
    for table in (METHODS, NETWORKS, *losses, DEGRADATIONS):
        for name in table:
            assert any(key == name or name in key.split("__") for key in schema["$defs"]), name
    found = list(numbers(schema))
    assert len(found) > 100
    boundless = []
    for place, number in found:
        below = {"minimum", "exclusiveMinimum"} & number.keys()
        above = {"maximum", "exclusiveMaximum"} & number.keys()
        if not below or not above:
            boundless.append(place)
    assert boundless == []


HUGE = 10**31

BOUNDED = (
    "batch_size", "micro_batch_size", "threads", "seed", "max_nonfinite", "length", "log_every", "data.workers",
    "data.cache_gib", "data.partitions", "data.color_jitter", "data.max_bad_fraction", "data.labels.label",
    "optimizer.lr", "optimizer.eps", "optimizer.weight_decay", "optimizer.grad_clip_norm", "optimizer.interval_steps",
    "optimizer.lr_factors.generator", "phases.generator.lr", "phases.generator.interval_steps", "schedule.decay_fraction",
    "schedule.warmup", "ema.half_life", "evaluate.every", "evaluate.crop_border", "evaluate.max_samples", "previews.every",
    "previews.samples", "checkpoint.every", "checkpoint.keep", "checkpoint.best", "method.losses.l1", "method.gan",
    "method.pool", "method.generator.width", "method.generator.levels", "method.generator.dropout",
    "method.generator.attention", "method.discriminator.width", "method.discriminator.layers",
)  # fmt: skip


@pytest.mark.parametrize("key", BOUNDED)
def test_a_value_past_reason_is_refused_in_a_line(key: str) -> None:
    for value in (HUGE, -HUGE, 1e300):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            recipe.load("quickstart", [f"{key}={value!r}"])
        (line,) = str(refused.value).splitlines()
        assert line.startswith(f"{key}: found ")
        assert len(line) < 300


def test_one_number_is_the_height_and_the_width() -> None:
    data = recipe.load("facades", ["data.size=64", "data.resize=72"]).data
    assert (data.size, data.resize) == ((64, 64), (72, 72))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("data.size=[65537,16]",),
            "data.size.0: found 65537, allowed: less than or equal to 65536",
        ),
        (
            ("data.size=[16384,16384]",),
            "data.size: found [16384, 16384], allowed: 67,108,864 pixels at most",
        ),
        (
            ("data.resize=[65536,65536]",),
            "data.resize: found [65536, 65536], allowed: 67,108,864 pixels at most",
        ),
        (
            ("length=1e400 epochs",),
            "length: found '1e400 epochs', allowed: a whole number of images",
        ),
        ((f"length={'9' * 400} epochs",), "length: found '9999"),
        ((f"length={MAX_EPOCHS + 1} epochs",), f"text like '20 epochs' (at most {MAX_EPOCHS:,})"),
        ((f"length={MAX_IMAGES + 1}",), f"(at least 1, at most {MAX_IMAGES:,})"),
        (("length=٣ epochs",), "length: found '٣ epochs'"),
        (
            (
                "method.generator={name: encoder_decoder, widths: [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]}",
            ),
            "12 items",
        ),
        (("method.more_discriminators=[" + "{network: patchgan}," * 17 + "]",), "found ["),
        (("evaluate.metrics=[" + "l1," * 101 + "]",), "100 items at most"),
    ],
)
def test_sizes_and_lengths_have_bounds(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        recipe.load("quickstart", words)
    (line,) = str(refused.value).splitlines()
    assert says in line


# One value of each JSON type, and some of none's.
ODD = (
    None,
    True,
    7,
    -1,
    1.5,
    1e300,
    "text",
    "",
    "auto",
    [],
    [1],
    ["a", None],
    {},
    {"a": 1},
    {"name": 3},
    {1: 2},
)

INTERNAL = (
    "constrained", "literal[", "function-", "pydantic", "tagged-union", "nullable", "tuple[", "list[", "dict[",
    "union[",
    "int_", "str_", "bool_", "_type", "validation error", "instance of", "basemodel", "none required", "dictionary",
    "type=", "[key]", "after validation",
)  # fmt: skip


# Keys whose value is right by itself, and wrong for another key, which the line then names.
BESIDE = {
    "evaluate.metrics": ("evaluate.best_by:",),
    "data.unpaired": ("evaluate.metrics:", "data.inputs:", "data.train_target:"),
    "data.size": ("data.resize:",),
    "data.size.0": ("data.resize:",),
    "data.size.1": ("data.resize:",),
    "data.resize.0": ("data.resize:",),
    "data.resize.1": ("data.resize:",),
    "data.source": ("data.labels:", "data.target:"),
    "data.target": ("data.labels:",),
}


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a resolved recipe, keys and indices."""
    if path:
        yield path
    pairs = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in pairs:
        yield from places(value, (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


WHOLE = {  # as many keys as a recipe can have
    "pix2pix": (
        "method.penalties=[r1]",
        "method.augment=[color]",
        "method.more_discriminators=[{network: patchgan}]",
    ),
    "cut": (),
    "cityscapes_spade": ("phases.generator.betas=[0,0.9]", "optimizer.lr_factors={generator: 0.5}"),
    "cityscapes_pix2pixhd": ("freeze=[generator]", "evaluate.weights={unet: a}"),
    "survey": ("init_from=[a]", "test_time.dropout=true"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_wrong_values_are_told_in_the_recipes_words(name: str) -> None:
    """One line for a wrong value, by its key; nothing of pydantic's own."""
    content = recipe.load(name, WHOLE[name]).dump()
    paths = list(places(content))
    assert len(paths) > 60
    refusals = 0
    for path in paths:
        key = ".".join(map(str, path))
        owner = key.removesuffix(".name")  # a component is known by its name
        for value in ODD:
            try:
                recipe.from_dict(changed(content, path, value))
            except ValueError as e:
                refusals += 1
                lines = str(e).splitlines()
                about = [line for line in lines if line.startswith((f"{owner}:", f"{owner}."))]
                others = [line for line in lines if line.startswith(BESIDE.get(key, ()))]
                assert about or others, (key, value, lines)
                assert len({line.partition(": ")[0] for line in lines}) == len(lines), (
                    key,
                    value,
                    lines,
                )
                for line in lines:
                    words = line.lower().replace(repr(value).lower(), "")
                    assert not [word for word in INTERNAL if word in words], (key, value, line)
                    assert len(line) < 1200
    assert refusals > 5 * len(paths)
