"""Draws the results. It needs matplotlib: pip install 'gantrain[bench]'."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ratios import settings_of
from report import Row, constants, number

COLOURS = ("#3b6fb6", "#d1793b", "#7a9e4b", "#9a6fb0", "#8c8c8c")
OTHER = "#c9c9c9"


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _ranges(rows: Sequence[Row], rate: str) -> tuple[list[float], list[list[float]]]:
    """Return the medians, and the distances from them to the extremes."""
    medians = [row[rate]["median"] for row in rows]
    low = [row[rate]["median"] - row[rate]["min"] for row in rows]
    return medians, [low, [row[rate]["max"] - row[rate]["median"] for row in rows]]


def _named(rows: Sequence[Row], without: Sequence[str] = ()) -> list[str]:
    """Return for each row the words that distinguish it from the others."""
    shared = {*constants(rows), *without}
    names = []
    for row in rows:
        words = []
        for key, value in settings_of(row).items():
            if key not in shared and value not in (False, None):
                words.append(
                    key
                    if value is True
                    else str(value)
                    if isinstance(value, str)
                    else f"{key} {value}"
                )
        names.append(", ".join(words) or row["loop"])
    return names


def throughput(rows: Sequence[Row], path: Path) -> None:
    """Draw the rates, or their growth with the devices, and where the time of a step goes."""
    ours = [row for row in rows if row["loop"] == "gantrain"]
    figure, axes = _figure(1, 2, 13, 1.6 + 0.42 * len(rows))
    several = len({row["devices"] for row in rows}) > 1
    (_scaling if several else _rates)(axes[0, 0], rows)
    _phases(axes[0, 1], ours)
    figure.savefig(path)


def _rates(axes: Any, rows: Sequence[Row]) -> None:
    medians, ranges = _ranges(rows, "images/s")
    low, top = (
        min(row["images/s"]["min"] for row in rows),
        max(row["images/s"]["max"] for row in rows),
    )
    wide = top > 30 * low
    for place, row in enumerate(rows):
        one = [[below[place]] for below in ranges]
        axes.errorbar(
            medians[place],
            place,
            xerr=one,
            color=COLOURS[row["loop"] == "plain"],
            marker="o",
            capsize=3,
        )
        share = f", {row['of peak']:.0%} of peak" if "of peak" in row else ""
        style = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(f"{number(medians[place])}{share}", (row["images/s"]["max"], place), **style)
    axes.set_yticks(range(len(rows)), _named(rows))
    axes.invert_yaxis()
    axes.set_xscale("log" if wide else "linear")
    axes.set_xlim(low / 2 if wide else 0, top * (12 if wide else 1.4))
    axes.grid(axis="x", color="#e3e3e3")
    axes.set_axisbelow(True)
    axes.set_xlabel("images/s (median, range); peak: matrix products")
    axes.spines[["top", "right"]].set_visible(False)


def _scaling(axes: Any, rows: Sequence[Row]) -> None:
    but = (
        ("devices", "threads", "batch")
        if any("efficiency" in row for row in rows)
        else ("devices", "threads")
    )
    names = _named(rows, but)
    most = max(row["devices"] for row in rows)
    for rank, name in enumerate(dict.fromkeys(names)):
        line = sorted(
            (r for r, n in zip(rows, names, strict=True) if n == name),
            key=lambda row: row["devices"],
        )
        medians, ranges = _ranges(line, "images/s")
        colour, devices = COLOURS[rank % len(COLOURS)], [row["devices"] for row in line]
        axes.errorbar(
            devices, medians, yerr=ranges, color=colour, marker="o", capsize=3, label=name
        )
        if line[0]["loop"] == "gantrain":
            ideal = [medians[0], medians[0] * most / devices[0]]
            axes.plot([devices[0], most], ideal, color=colour, linestyle=":", linewidth=1)
    axes.set_xticks(sorted({row["devices"] for row in rows}))
    axes.set_xlabel("devices; dotted: as many times as devices")
    axes.set_ylabel("images/s: median, range of the repeats")
    axes.set_ylim(0)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _phases(axes: Any, rows: Sequence[Row]) -> None:
    names = list(
        dict.fromkeys(n for row in rows for n in row if n.endswith(" ms") and n != "other ms")
    )
    ends = [0.0] * len(rows)
    for rank, name in enumerate([*names, "other ms"]):
        values = [max(0.0, row.get(name, {}).get("median", 0.0)) / row["batch"] for row in rows]
        total = [
            sum(v["median"] for n, v in row.items() if n.endswith(" ms")) / row["batch"]
            for row in rows
        ]
        shares = [100 * value / whole for value, whole in zip(values, total, strict=True)]
        colour = OTHER if name == "other ms" else COLOURS[rank % len(COLOURS)]
        axes.barh(
            range(len(rows)),
            shares,
            left=ends,
            color=colour,
            height=0.6,
            label=name.removesuffix(" ms"),
        )
        for place, (share, value) in enumerate(zip(shares, values, strict=True)):
            if share > 12:
                style = {
                    "ha": "center",
                    "va": "center",
                    "fontsize": 8,
                    "color": "black" if colour == OTHER else "white",
                }
                axes.text(ends[place] + share / 2, place, f"{number(value)} ms", **style)
        ends = [end + share for end, share in zip(ends, shares, strict=True)]
    axes.set_yticks(range(len(rows)), _named(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of a step's time; in the bars: per image")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)


def dataloading(rows: Sequence[Row], path: Path) -> None:
    """Draw a panel for each format, stage, place and cache, with bars by workers and source."""
    down = list(dict.fromkeys((row["format"], row["images"]) for row in rows))
    across = list(dict.fromkeys((row["place"], row["cache"]) for row in rows))
    sources = list(dict.fromkeys(row["from"] for row in rows))
    figure, axes = _figure(len(down), len(across), 1.5 + 2.8 * len(across), 0.8 + 2.1 * len(down))
    for (i, (form, images)), (j, (place, cache)) in itertools.product(
        enumerate(down), enumerate(across)
    ):
        panel = axes[i, j]
        shown = [
            r
            for r in rows
            if (r["format"], r["images"], r["place"], r["cache"]) == (form, images, place, cache)
        ]
        workers = list(dict.fromkeys(row["workers"] for row in shown))
        for rank, source in enumerate(sources):
            found = [row for row in shown if row["from"] == source]
            medians, ranges = _ranges(found, "samples/s")
            places = [
                workers.index(row["workers"]) + (rank - (len(sources) - 1) / 2) * 0.2
                for row in found
            ]
            panel.bar(
                places,
                medians,
                0.18,
                yerr=ranges,
                color=COLOURS[rank],
                ecolor="#333333",
                capsize=2,
                label=source if i == j == 0 else None,
            )
        panel.set_xticks(
            range(len(workers)), [f"{n} workers" if n != 1 else "1 worker" for n in workers]
        )
        panel.set_title(f"{form}, {images}\n{place}, {cache}", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel("samples/s")
    for line in axes:  # one scale for a format
        top = max(panel.get_ylim()[1] for panel in line)
        for panel in line:
            panel.set_ylim(0, top)
    figure.legend(loc="outside upper center", ncols=len(sources), frameon=False)
    figure.savefig(path)


def quality(runs: Sequence[Row], metric: str) -> Callable[[Sequence[Row], Path], None]:
    """Draw a metric over images and over training time.

    Each run is a line, and each number of devices has a colour.
    """

    def draw(_: Sequence[Row], path: Path) -> None:
        figure, axes = _figure(1, 2, 11, 4)
        counts = sorted({row["devices"] for row in runs})
        for (devices, seed), panel in itertools.product(
            sorted({(r["devices"], r["seed"]) for r in runs}), (0, 1)
        ):
            line = [row for row in runs if (row["devices"], row["seed"]) == (devices, seed)]
            first = seed == min(row["seed"] for row in runs)
            axes[0, panel].plot(
                [row[("images", "train_seconds")[panel]] for row in line],
                [row[metric] for row in line],
                color=COLOURS[counts.index(devices) % len(COLOURS)],
                marker="o",
                label=f"{devices} device{'s' * (devices > 1)}" if first else None,
            )
        for panel, label in zip(axes[0], ("images seen", "seconds of training"), strict=True):
            panel.set_xlabel(f"{label}; a line for each seed")
            panel.set_ylabel(metric)
            panel.legend(frameon=False)
            panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(path)

    return draw


def variants(marks: Sequence[Row]) -> Callable[[Sequence[Row], Path], None]:
    """Draw each metric over images. Each run is a line, and each variant has a colour."""
    names = list(dict.fromkeys(row["variant"] for row in marks))
    settings = ("variant", "seed", "images")
    metrics = [name for name in marks[0] if name not in settings and not name.endswith("_null")]

    def draw(_: Sequence[Row], path: Path) -> None:
        figure, axes = _figure(1, len(metrics), 1 + 4.2 * len(metrics), 4)
        for panel, metric in zip(axes[0], metrics, strict=True):
            for rank, name in enumerate(names):
                _draw_runs(
                    panel, [row for row in marks if row["variant"] == name], metric, f"C{rank % 10}"
                )
            panel.set_xlabel("images seen; a line for each seed")
            panel.set_ylabel(metric)
            panel.spines[["top", "right"]].set_visible(False)
        axes[0, -1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path)

    return draw


def _draw_runs(panel: Any, marks: Sequence[Row], metric: str, colour: str) -> None:
    """Draw the runs of one variant into a panel."""
    for rank, seed in enumerate(sorted({row["seed"] for row in marks})):
        run = [row for row in marks if row["seed"] == seed and metric in row]
        images = [row["images"] for row in run]
        values = [row[metric] for row in run]
        label = marks[0]["variant"] if rank == 0 else None
        panel.plot(images, values, color=colour, marker="o", label=label)
