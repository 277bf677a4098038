"""The ratios of the rows of `throughput.py` to each other."""

import re
from typing import Any

import report

from gantrain.bench.repeats import ratio, rounded


def settings_of(row: report.Row) -> report.Row:
    """Return the settings of a row without its measurements.

    The name of a measurement holds a space, a slash or a capital, with two exceptions.
    """
    return {k: v for k, v in row.items() if not re.search(r"[ /A-Z]|^(exchange|efficiency)$", k)}


def convolution_settings(row: report.Row) -> report.Row:
    """Return the settings of the row that holds the convolutions of a loop's step.

    Compiled networks and ZeRO have the same convolutions. `of` is the loop whose step they are of.
    """
    settings = settings_of(row)
    settings.pop("compile", None)
    settings.pop("zero_stage", None)
    loop = "plain" if row["loop"] == "plain" else "gantrain"
    return {**settings, "loop": "convolutions", "of": loop}


def within(rows: list[report.Row]) -> list[report.Row]:
    """Return the rows of one run without those of the convolutions.

    The rows have their ratios to their own convolutions and to the plain loops.
    """

    def one(wanted: report.Row, **other: Any) -> report.Row | None:
        wanted = {**wanted, **other}
        return next((row for row in rows if settings_of(row) == wanted), None)

    for row in rows:
        if row["loop"] == "convolutions":
            continue
        same = settings_of(row)
        peak = one(convolution_settings(row))
        if "GFLOP/image" in row and peak:
            row["TFLOP/s"] = rounded(row["images/s"]["median"] * row["GFLOP/image"] / 1e3)
            row["convolution TFLOP/s"] = peak["TFLOP/s"]
            row["of peak"] = round(row["TFLOP/s"] / peak["TFLOP/s"]["median"], 3)
        if row["loop"] != "gantrain":
            continue
        if alone := one(same, loop="no exchange"):
            row["exchange"] = round(1 - ratio(row["images/s"], alone["images/s"]), 3)
        as_it_is = {
            "loop": "plain",
            "precision": "fp32",
            "channels_last": False,
            "compile": False,
            "accumulation": 1,
        }
        for name, batch in (("x plain", row["batch"]), ("x plain at 1", 1)):
            if plain := one(same, **as_it_is, batch=batch):
                row[name] = ratio(row["images/s"], plain["images/s"])
    return [row for row in rows if row["loop"] != "convolutions"]


def across(rows: list[report.Row], weak: bool) -> None:
    """Add what more devices gain over the fewest devices.

    weak: each device has the same number of images. Otherwise all devices share one batch.
    """

    def key(row: report.Row) -> report.Row:
        share = row["batch"] / row["devices"] if weak else row["batch"]
        return {**settings_of(row), "devices": None, "threads": None, "batch": share}

    for row in (row for row in rows if row["loop"] == "gantrain"):
        fewest = min(
            (other for other in rows if key(other) == key(row)), key=lambda other: other["devices"]
        )
        if fewest["devices"] < row["devices"]:
            times = ratio(row["images/s"], fewest["images/s"])
            row[f"x {fewest['devices']} device"] = times
            row["efficiency"] = round(times * fewest["devices"] / row["devices"], 3)
