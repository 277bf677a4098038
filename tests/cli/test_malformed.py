"""What a user can get wrong: one clear line for each mistake, status 2, nothing made or lost."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.cli.train_command import train_main
from gantrain.data.decode import encode
from gantrain.data.prepare.pack import prepare
from gantrain.training import batch_split

Make = Callable[[Path], object]  # lays out files in the test's folder

# Enough of a recipe to be right without what a case adds; drawn data of a small size.
QUICK = ("recipe=quickstart", "data.size=[32,32]", "data.workers=0", "precision=fp32")

# A tiny pix2pix on side-by-side images of 32x64 pixels.
PAIRS = (
    "recipe=pix2pix",
    "data.size=[32,32]",
    "data.resize=null",
    "data.workers=0",
    "method.generator.width=4",
    "method.generator.levels=2",
    "method.discriminator.width=4",
    "method.discriminator.layers=1",
    "batch_size=4",
    "length=8",
    "precision=fp32",
    "device=cpu",
    "trackers=[]",
)
LABELS = (*PAIRS, "data.source=label", "data.target=image", "data.labels={label: 4}")
TRAIN = (*PAIRS, "data=images")


@dataclass(frozen=True)
class Case:
    """Arguments, the texts that the complaint must hold, and what lies in the folder before."""

    words: tuple[str, ...]
    says: tuple[str, ...]
    make: Make | None = None
    lines: int = 1
    environment: tuple[tuple[str, str], ...] = ()


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file's content, and None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def nothing_changes(cache: Path) -> Iterator[None]:
    """The working folder stays as it is; the cache may get whole data sets, but no leftovers."""
    before = snapshot(Path.cwd())
    yield
    assert snapshot(Path.cwd()) == before
    assert not [path for path in cache.rglob(".*") if path.name.startswith(".")]


def assert_complaint(text: str, case: Case) -> None:
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == case.lines, text
    assert "Traceback" not in text
    for part in case.says:
        assert part in text, (part, text)


def refused(case: Case, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gantrain train` with the case's words, in this process."""
    if case.make:
        case.make(Path.cwd())
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, nothing_changes(cache):
        for name, value in case.environment:
            patch.setenv(name, value)
        status = train_main(list(case.words))
    assert_complaint(capsys.readouterr().err, case)
    assert status == 2


# -- recipes and overrides -------------------------------------------------------------------------


def quick(*words: str, says: tuple[str, ...], lines: int = 1) -> Case:
    return Case((*QUICK, *words), says, lines=lines)


RECIPES = {
    "unknown key": quick("colour=red", says=("colour: unknown key", "allowed: run, init_from")),
    "misspelt key": quick(
        "batchsize=8", says=("batchsize: unknown key", "did you mean batch_size")
    ),
    "misspelt inner key": quick(
        "optimizer.betass=1", says=("optimizer.betass", "mean optimizer.betas?")
    ),
    "extends as override": quick("extends=pix2pix", says=("extends: unknown key",)),
    "text for a number": quick(
        "batch_size=eight", says=("batch_size: found 'eight'", "allowed: a valid integer")
    ),
    "quoted number": quick(
        'optimizer.lr="1e-4"', says=("optimizer.lr: found '1e-4'", "allowed: a valid number")
    ),
    "truth for a number": quick(
        "batch_size=true", says=("batch_size: found true", "a valid integer")
    ),
    "fraction": quick("batch_size=8.5", says=("batch_size: found 8.5", "a valid integer")),
    "null": quick("batch_size=", says=("batch_size: found null", "a valid integer")),
    "mapping for a number": quick(
        "batch_size.x=3", says=("batch_size: found {'x': 3}", "a valid integer")
    ),
    "number for a mapping": quick("optimizer=5", says=("optimizer: found 5", "allowed: a mapping")),
    "out of range": quick(
        "optimizer.lr=-1", says=("optimizer.lr: found -1", "allowed: greater than 0")
    ),
    "infinite": quick(
        "optimizer.lr=.inf", says=("optimizer.lr: found inf", "allowed: a finite number")
    ),
    "too few values": quick(
        "optimizer.betas=[0.5]", says=("optimizer.betas: found [0.5], allowed: 2 values",)
    ),
    "range of a phase": quick(
        "phases.generator.betas=[0,3]", says=("phases.generator.betas.1: found 3", "less than 1")
    ),
    "unknown choice": quick(
        "optimizer.name=sgd", says=("found 'sgd'", "allowed: 'adam' or 'adamw'")
    ),
    "number or auto": quick(
        "data.workers=-1",
        says=("data.workers: found -1", "allowed: greater than or equal to 0 or 'auto'"),
    ),
    "mapping for number or auto": quick(
        "micro_batch_size.x=3",
        says=("micro_batch_size: found {'x': 3}, allowed: a valid integer or 'auto'",),
    ),
    "text for one of several": quick(
        "data.labels.a=x", says=("data.labels.a: found 'x', allowed: a valid integer",)
    ),
    "misspelt key of a phase": quick(
        "phases.generator.weightdecay=0",
        says=("phases.generator.weightdecay: unknown key", "mean phases.generator.weight_decay?"),
    ),
    "seed": quick("seed=-1", says=("seed: found -1", "allowed: greater than or equal to 0")),
    "size of one value": quick(
        "data.size=[256]",
        says=(
            "data.size: found [256], allowed: a size in pixels, which is one number, such as 64",
        ),
    ),
    "size as text": quick(
        "data.size=64x64", says=("data.size: found '64x64'", "or [height, width]")
    ),
    "size of no pixels": quick(
        "data.size=0", says=("data.size: found 0, allowed: greater than or equal to 1",)
    ),
    "flip": quick("data.flip=maybe", says=("data.flip: found 'maybe'", "allowed: true, false")),
    "crop larger than the image": quick(
        "data.resize=[16,64]", says=("data.resize: found [16, 64]", "[32, 32] or more")
    ),
    "length 0": quick("length=0", says=("length: found 0", "at least 1")),
    "length in minutes": quick("length=5 minutes", says=("'5 minutes'", "'20 epochs'")),
    "half an image": quick("log_every=0.5 images", says=("log_every: found '0.5 images'",)),
    "negative length": quick("ema.half_life=-1 epochs", says=("ema.half_life: found '-1 epochs'",)),
    "fp16": quick("precision=fp16", says=("'fp16'", "loss scale", "allowed: auto, bf16, fp32")),
    "precision": quick(
        "precision=int8", says=("found 'int8'", "allowed: 'auto', 'bf16', 'fp32' or 'fp64'")
    ),
    "unknown signal": quick("stop_signal=SIGFOO", says=("found 'SIGFOO'", "such as SIGUSR1")),
    "signal nobody catches": quick("stop_signal=SIGKILL", says=("'SIGKILL'", "can be caught")),
    "unknown tracker": quick("trackers=[wandbb]", says=("found 'wandbb'", "tensorboard, wandb")),
    "tracker without brackets": quick("trackers=wandb", says=("found 'wandb'", "in brackets")),
    "run in another folder": quick("run=../x", says=("run: found '../x'", "a plain name")),
    "method": quick(
        "method=cycleganx", says=("method: found {'name': 'cycleganx'}", "allowed: pix2pix, survey")
    ),
    "metrics of pairs": quick(
        "data.unpaired=true",
        says=("evaluate.metrics: l1, psnr, ssim need pairs; allowed with data.unpaired",),
    ),
    "targets of pairs": quick(
        "data.train_target=x",
        says=("data.train_target: found 'x', allowed: null; data.unpaired=true",),
    ),
    "identity": quick(
        "method={name: cyclegan}",
        says=(
            "method.identity: found 5.0, sources of 10 and targets of 3 channels",
            "method.identity=0",
        ),
    ),
    "component": quick(
        "method.generator=unett",
        says=(
            "method.generator: found {'name': 'unett'}",
            "allowed: unet, pretrained_unet, resnet",
        ),
    ),
    "discriminator as generator": quick(
        "method.generator=patchgan",
        says=(
            "method.generator: found {'name': 'patchgan'}",
            "allowed: unet, pretrained_unet, resnet",
        ),
    ),
    "generator as discriminator": quick(
        "method.discriminator=unet",
        says=("method.discriminator: found {'name': 'unet'}", "whole_image"),
    ),
    "component's option": quick(
        "method.generator.widht=8",
        says=("method.generator.widht: unknown key", "mean method.generator.width?"),
    ),
    "component's range": quick(
        "method.generator.levels=1",
        says=("method.generator.levels: found 1", "greater than or equal to 2"),
    ),
    "component's choice": quick(
        "method.generator.norm=layer", says=("found 'layer'", "'instance', 'batch', 'sync_batch'")
    ),
    "component's list": quick(
        "method.generator={name: encoder_decoder, widths: []}",
        says=("widths: found []", "at least 1 item"),
    ),
    "option of another method": quick(
        "method={name: survey, generator: unet}",
        says=("method.generator: unknown key", "name, losses"),
    ),
    "labels of no used field": quick(
        "data.labels.lable=9", says=("data.labels: found", "label and photo")
    ),
    "source is target": quick("data.source=photo", says=("data.target:", "data.source=photo")),
    "field's name": quick("data.source=../x", says=("data.source: found '../x'", "a field")),
    "all at once": quick(
        "batchsize=1",
        "optimizer.lr=0",
        "method.generator.norm=x",
        "data.size=[0,1]",
        "length=soon",
        says=("batchsize:", "optimizer.lr:", "generator.norm:", "data.size.0:", "length:"),
        lines=5,
    ),
    "contradiction of the data": quick(
        "method.generator.in_channels=4", says=("in_channels", "recipe says 4", "data give 10")
    ),
    "phase": quick("phases.gen.lr=1e-4", says=("'gen'", "allowed: generator, discriminator")),
    "too small for the discriminator": quick(
        "method.discriminator.layers=5",
        says=("data.size: found [32, 32]", "discriminator needs [", "or more"),
    ),
    "too small to draw": quick("data.size=[8,8]", says=("data.train: 8x8 is too small", "16x16")),
    "too large to draw": quick(
        "data.size=[8192,8192]", says=("data.train: 8192x8192 is too large", "8,388,608")
    ),
    "micro-batch": quick(
        "batch_size=8", "micro_batch_size=3", says=("micro_batch_size: found 3", "8, 4, 2, 1")
    ),
    "networks past the memory": quick(
        "method.generator.width=4096",
        "method.generator.levels=12",
        says=("method: the networks need", "GiB", "this machine has", "a lower width"),
    ),
    "held-out data that are not there": quick(
        "data.validation=/no/such", says=("data.validation: no folder /no/such",)
    ),
    "held-out data that are not there, beside drawn ones": quick(
        "data.validation=/no/such", "data=synthetic", says=("data.validation: no folder /no/such",)
    ),
    "targets that are not there, beside drawn sources": Case(
        ("recipe=cyclegan", "data.size=[32,32]", "data=synthetic", "data.train_target=/no/such"),
        ("data.train_target: no folder /no/such",),
    ),
    "held-out targets that are not there": Case(
        (
            "recipe=cyclegan",
            "data.size=[32,32]",
            "data=synthetic",
            "data.validation_target=/no/such",
        ),
        ("data.validation_target: no folder /no/such",),
    ),
    "border of half the image": quick(
        "evaluate.crop_border=16",
        says=("evaluate.crop_border: found 16", "at most 15", "samples are 32x32"),
    ),
    "border in a dry run": quick(
        "evaluate.crop_border=16", "dry_run=true", says=("evaluate.crop_border: found 16",)
    ),
    "border of a stage": quick(
        "stages=[{length: 8}, {length: 8, evaluate: {crop_border: 16}}]",
        says=("stages.1: evaluate.crop_border: found 16",),
    ),
    "weights of a metric": quick(
        "evaluate.metrics=[l1,lpips]",
        "evaluate.weights={lpips: no.pth}",
        says=(
            "evaluate.weights: lpips: no.pth can't be read as tensors by name (no such file)",
            "give a file of tensors",
        ),
    ),
    "classes of images": quick(
        "data.source=photo",
        "data.target=label",
        "data.labels={}",
        "evaluate.metrics=[l1,miou_unet]",
        says=("evaluate.metrics: miou_unet need class ids as the source, found images",),
    ),
    "override without a value": quick("batch_size", says=("found 'batch_size'", "a.b.c=value")),
    "override without a key": quick("=5", says=("found '=5'", "key=value")),
    "override with two dots": quick("a..b=1", says=("found 'a..b=1'", "a.b.c=value")),
    "override that is no YAML": quick("data.size=[2", says=("data.size: not valid YAML", "']'")),
    "option": quick("--batch-size", "8", says=("found --batch-size", "a.b.c=value")),
    "two recipes": quick("recipe=facades", says=("recipe: name one",)),
    "no recipe": Case(("batch_size=8",), ("recipe: name one", "recipe=quickstart")),
    "a word without its key": Case(
        ("pix2pix",), ("found 'pix2pix'", "did you mean recipe=pix2pix?")
    ),
    "missing recipe": Case(("recipe=nope",), ("recipe: found 'nope'", "cityscapes, ", "a path")),
    "missing file": Case(("recipe=a/nope.yaml",), ("recipe: no file a/nope.yaml", "give a .yaml")),
    "import of nothing": quick("--import", says=("--import: found no name", "a module's name")),
    "import of a missing module": quick(
        "--import", "nope", says=("there is no module 'nope'", "PYTHONPATH")
    ),
    "relative import": quick(
        "--import", ".nope", says=("--import: found '.nope'", "a module's name")
    ),
}

FILES = {
    "not YAML": ("a: b: c", ("mine.yaml: not valid YAML: line 1, column 5",)),
    "tab": ("data:\n\ttrain: x", ("not valid YAML: line 2, column 1",)),
    "open bracket": ("data: {size: [1, 2", ("not valid YAML: line 1",)),
    "key twice": ("seed: 1\nlength: 5\nseed: 2", ("line 3", "key 'seed' appears twice")),
    "code": ("seed: !!python/object/apply:os.getpid []", ("line 1", "python/object/apply")),
    "a list": ("- method", ("mine.yaml: found a list", "a mapping `key: value`")),
    "a text": ("pix2pix", ("mine.yaml: found 'pix2pix'", "a mapping")),
    "empty": ("", ("mine.yaml: found nothing", "a mapping")),
    "number as key": ("extends: quickstart\n1: 2", ("1: unknown key", "allowed: run")),
    "no method": ("data: {train: synthetic}", ("method: missing; give it a value",)),
    "method without a name": (
        "method: {l1: 3}",
        ("method: found {'l1': 3}", "pix2pix, survey", "as a name or as {name: ...}"),
    ),
    "extends itself": ("extends: mine", ("mine.yaml: extends itself", "remove `extends`")),
    "extends in a circle": ("extends: ./other.yaml", ("mine.yaml: extends itself",)),
    "extends nothing": ("extends: nope", ("mine.yaml: extends: found 'nope'", "quickstart")),
    "extends no file": ("extends: ./no.yaml", ("mine.yaml: extends: no file no.yaml",)),
    "extends a list": ("extends: [a]", ("mine.yaml: extends: found ['a']", "one recipe's name")),
    "a component as a list": (
        "method: {name: pix2pix, generator: [unet]}",
        ("method.generator: found ['unet']", "unet, resnet, encoder_decoder"),
    ),
}


def _files() -> dict[str, Case]:
    def make(text: str) -> Make:
        def write(folder: Path) -> None:
            (folder / "mine.yaml").write_text(text)
            (folder / "other.yaml").write_text("extends: ./mine.yaml")

        return write

    cases = {
        name: Case(("recipe=mine.yaml",), says, make(text)) for name, (text, says) in FILES.items()
    }
    cases["not text"] = Case(
        ("recipe=mine.yaml",),
        ("mine.yaml: cannot be read as text",),
        lambda folder: (folder / "mine.yaml").write_bytes(b"\xff\xfe\x00"),
    )
    return cases


# -- data ------------------------------------------------------------------------------------------


def image(height: int, width: int, channels: int = 3, seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    return encode(random.integers(0, 256, (height, width, channels), dtype=np.uint8), "png")


def deep_image(height: int, width: int) -> bytes:
    """16 bits, whose range says what they mean: they are never converted to 8."""
    return encode(np.zeros((height, width, 1), np.uint16), "png")


def folder_of(path: str, *contents: bytes) -> Make:
    """Images by number; more folders by `+`."""

    def make(folder: Path) -> None:
        (folder / path).mkdir(parents=True)
        for i, content in enumerate(contents):
            (folder / path / f"{i}.png").write_bytes(content)

    return make


def both(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


def pairs(count: int = 4, height: int = 32, width: int = 64) -> list[bytes]:
    return [image(height, width, seed=i) for i in range(count)]


def ids(highest: int) -> bytes:
    array = np.zeros((32, 32, 1), np.uint8)
    array[0, 0] = highest
    return encode(array, "png")


def shards(change: Make | None = None, name: str = "images") -> Make:
    """A packed data set of four pairs, then changed."""

    def make(folder: Path) -> None:
        folder_of("raw", *pairs())(folder)
        prepare(folder / "raw", folder / name, progress=False)
        shutil.rmtree(folder / "raw")
        if change:
            change(folder / name)

    return make


def in_index(change: Callable[[dict[str, object]], object]) -> Make:
    def make(folder: Path) -> None:
        content = json.loads((folder / "index.json").read_text())
        change(content)
        (folder / "index.json").write_text(json.dumps(content))

    return make


def shorten(name: str, to: int = 1000) -> Make:
    return lambda folder: os.truncate(folder / name, to)


def labelled(*contents: bytes) -> Make:
    images = [image(32, 32, seed=i) for i in range(len(contents))]
    return both(folder_of("images/image", *images), folder_of("images/label", *contents))


DATA = {
    "not set": Case(PAIRS, ("data.train: not set", "give a folder", "data=synthetic")),
    "missing": Case((*PAIRS, "data=no/such"), ("data.train: no folder no/such", "check the path")),
    "home of nobody": Case((*PAIRS, "data=~nobody-here/x"), ("no folder ~nobody-here/x",)),
    "both missing": Case(
        ("recipe=facades",),
        ("data.train: no folder data/facades/train", "data.validation: no folder data/facades/val"),
        lines=2,
    ),
    "cityscapes": Case(
        ("recipe=cityscapes", "data.validation=null"),
        (
            "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip",
            "https://www.cityscapes-dataset.com/", "data=synthetic",
            "`gantrain prepare FOLDER --out data/cityscapes/train --as cityscapes --split train`",
        ),
    ),
    "URL of nothing": Case(
        (*PAIRS, "data=file:///no/such/set/"),
        ("data.train: file:///no/such/set/index.json cannot be fetched (tries: 1", "No such file"),
    ),
    "unknown URL": Case((*PAIRS, "data=ftp://host/x"), ("found ftp, allowed: a folder, or http",)),
    "password in a URL": Case(
        (*PAIRS, "data=https://me:secret@host/x"), ("a https URL with a user", "~/.netrc"),
    ),
    "signed URL": Case(
        (*PAIRS, "data=s3://b/s-{0..2}.tar?X-Amz-Signature=secret"),
        ("a s3 URL with a user, query", "AWS_ACCESS_KEY_ID"),
    ),
    "pipe": Case((*PAIRS, "data=pipe:touch x"), ("pipe: URL, which would run a shell command",)),
    "empty folder": Case(TRAIN, ("data.train", "found: nothing"), folder_of("images")),
    "no images": Case(
        TRAIN, ("data.train", "found: notes.txt", "holds neither images"),
        both(folder_of("images"), lambda f: (f / "images/notes.txt").write_text("x")),
    ),
    "a file": Case(
        (*PAIRS, "data=x.png"), ("data.train: no folder x.png",),
        lambda folder: (folder / "x.png").write_bytes(image(32, 64)),
    ),
    "single images": Case(
        TRAIN, ("could hold side-by-side pairs, folders or single images", "gantrain prepare", "OUT"),
        folder_of("images", *pairs(width=32)),
    ),
    "truncated images": Case(
        TRAIN, ("none of 4 samples is usable", "0.png", "truncated"),
        folder_of("images", *[content[:200] for content in pairs()]),
    ),
    "not images": Case(
        TRAIN, ("none of 2 samples is usable", "0.png", "JPEG, PNG, TIFF, WEBP, BMP, PPM, GIF or npy"),
        folder_of("images", b"GIF99a", b""),
    ),
    "odd widths": Case(
        TRAIN, ("data.train", "`gantrain prepare images --out OUT --as pairs`, and give data.train=OUT"),
        folder_of("images", *pairs(height=32, width=65)),
    ),
    "too small without resize": Case(
        TRAIN, ("data.size: found [32, 32]", "data.train has [16, 16]", "set data.resize"),
        folder_of("images", *pairs(height=16, width=32)),
    ),
    "missing field": Case(
        (*TRAIN, "data.source=photo"), ("data.source: found 'photo'", "allowed: left, right"),
        folder_of("images", *pairs()),
    ),
    "target of class ids": Case(
        (*PAIRS, "data=images", "data.source=image", "data.target=label", "data.labels={label: 4}"),
        ("data.target: label holds class ids", "swap source and target"),
        labelled(*[ids(3)] * 4),
    ),
    "RGB for labels": Case(
        (*LABELS, "data=images"), ("4 files do not hold the ids", "RGB where class ids"),
        labelled(*pairs(width=32)),
    ),
    "ids out of range": Case(
        (*LABELS, "data=images"), ("2 files do not hold the ids", "1.png: label holds ids beyond 4 classes: 9"),
        labelled(ids(3), ids(9), ids(9)),
    ),
    "labels in a pair": Case(
        (*TRAIN, "data.labels={left: 4}"), ("--labels left", "gantrain prepare"),
        folder_of("images", *pairs()),
    ),
    "number of classes": Case(
        (*LABELS, "data=packed"), ("recipe says 4 classes", "has 7", "--classes 4"),
        both(
            labelled(*[ids(6)] * 4),
            lambda f: prepare(f / "images", f / "packed", labels=["label"], progress=False),
        ),
    ),
    "images packed without labels": Case(
        (*LABELS, "data=packed"),
        ("expects class ids", "data.train holds 3-channel images", "--labels label"),
        both(
            labelled(*pairs(width=32)),
            lambda f: prepare(f / "images", f / "packed", progress=False),
        ),
    ),
    "validation of other channels": Case(
        (*TRAIN, "data.validation=grey"),
        ("data.validation: left has 1 channel of uint16", "3 channels", "one kind"),
        both(
            folder_of("images", *pairs()),
            folder_of("grey", *[deep_image(32, 64) for _ in range(4)]),
        ),
    ),
    "contradicting channels": Case(
        (*TRAIN, "method.discriminator.in_channels=3"),
        ("patchgan.in_channels", "recipe says 3", "data give 6"),
        folder_of("images", *pairs()),
    ),
    "shard missing": Case(
        TRAIN, ("shard s-000000.tar is missing", "copy the data set again"),
        shards(lambda folder: (folder / "s-000000.tar").unlink()),
    ),
    "index cut short": Case(
        TRAIN, ("index.json: Unterminated string", "prepare the data again"), shards(shorten("index.json", 50))
    ),
    "index without arrays": Case(
        TRAIN, ("index.npz is missing",), shards(lambda folder: (folder / "index.npz").unlink())
    ),
    "arrays cut short": Case(TRAIN, ("index.npz cannot be read",), shards(shorten("index.npz"))),
    "index of another format": Case(
        TRAIN,
        ("index.json: found format 9, this gantrain reads format 3; prepare or index the data again\n",),
        shards(in_index(lambda i: i.update(format=9))),
    ),
    "hostile index": Case(
        TRAIN, ("shards.0.name: found '../../passwd.tar', string should match",),
        shards(in_index(lambda i: i["shards"][0].update(name="../../passwd.tar"))),  # type: ignore[index]
    ),
    "index of other shards": Case(
        TRAIN, ("do not belong together",),
        shards(in_index(lambda i: i.update(fingerprint="0" * 64))),
    ),
    "tars without an index": Case(
        TRAIN, ("holds tars but no index.json", "copy the whole data set"),
        shards(lambda folder: (folder / "index.json").unlink()),
    ),
    "pattern": Case(
        (*PAIRS, "data=images/s-{000000..000003}.tar"),
        ("names 4 shards", "lists 1", "give the folder"), shards(),
    ),
    "pattern nowhere": Case(
        (*PAIRS, "data=nowhere/s-000000.tar"), ("data.train", "nowhere is not a data set")
    ),
    "cache in the way": Case(
        TRAIN, ("data.train: cannot use", "GANTRAIN_CACHE"),
        both(folder_of("images", *pairs()), lambda folder: (folder / "cache").write_text("")),
        environment=(("GANTRAIN_CACHE", "cache"),),
    ),
    "runs is a file": Case(
        TRAIN, ("run: cannot write runs/pix2pix", "start where you may write"),
        both(folder_of("images", *pairs()), lambda folder: (folder / "runs").write_text("")),
    ),
}  # fmt: skip


@pytest.mark.slow
def test_a_mistake_stands_alone_in_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings of the run come once nothing is wrong, and before what they cost."""
    assert train_main([*QUICK, "evaluate.crop_border=16", "dry_run=true"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line]
    assert line.startswith("gantrain: evaluate.crop_border: found 16")
    assert train_main([*QUICK, "dry_run=true"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [
        next(i for i, line in enumerate(lines) if line.startswith(word))
        for word in ("name: ", "parameters: ")
    ]
    assert starts == sorted(starts)


def test_images_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged and differing files of a folder don't stop the run, and aren't passed over."""
    good = pairs(4)
    folder_of("images", *good, good[0][:200], deep_image(32, 64))(tmp_path)
    (tmp_path / "images" / "notes.txt").write_text("mine")
    assert train_main([*TRAIN, "dry_run=true"]) == 0
    printed = capsys.readouterr().out
    assert "data.train: 1 unmatched and 2 left out of the files in images; see " in printed
    report = Path(printed.split("see ")[1].splitlines()[0]).read_text()
    assert all(name in report for name in ("4.png", "5.png", "notes.txt"))


# -- launchers -------------------------------------------------------------------------------------


def launched(says: tuple[str, ...], *words: str, lines: int = 1, **environment: str) -> Case:
    return Case((*QUICK, *words), says, lines=lines, environment=tuple(environment.items()))


LAUNCHERS = {
    "fp16": launched(("says fp16", "bf16 or no", "change"), ACCELERATE_MIXED_PRECISION="fp16"),
    "another precision": launched(
        ("precision: the recipe says fp32", "configuration bf16", "remove one"),
        ACCELERATE_MIXED_PRECISION="bf16",
    ),
    "another micro-batch": launched(
        ("micro_batch_size: the recipe says 2", "configuration 4", "remove one"),
        "batch_size=8",
        "micro_batch_size=2",
        ACCELERATE_GRADIENT_ACCUMULATION_STEPS="2",
    ),
    "accumulation": launched(
        ("batch_size: found 8", "a multiple of 3"), ACCELERATE_GRADIENT_ACCUMULATION_STEPS="3"
    ),
    "accumulation by DeepSpeed": launched(
        ("says auto accumulation steps", "a whole number"),
        ACCELERATE_GRADIENT_ACCUMULATION_STEPS="auto",
    ),
    "dynamo": launched(
        ("dynamo_backend says eager", "inductor or no"), ACCELERATE_DYNAMO_BACKEND="EAGER"
    ),
    "DeepSpeed": launched(
        ("zero_stage: found 2", "launcher" if find_spec("deepspeed") else "gantrain[deepspeed]"),
        ACCELERATE_USE_DEEPSPEED="true",
    ),
    "FSDP": launched(("asks for FSDP", "DDP"), ACCELERATE_USE_FSDP="true"),
    "all at once": launched(
        ("fp8", "AOT_EAGER".lower(), "says 3, allowed: 1 or 2"),
        ACCELERATE_MIXED_PRECISION="fp8",
        ACCELERATE_DYNAMO_BACKEND="AOT_EAGER",
        ACCELERATE_USE_DEEPSPEED="true",
        ACCELERATE_DEEPSPEED_ZERO_STAGE="3",
        lines=3,
    ),
}


TRAINING = {
    f"{table}: {name}": case
    for table, cases in {
        "recipe": RECIPES,
        "file": _files(),
        "data": DATA,
        "launcher": LAUNCHERS,
    }.items()
    for name, case in cases.items()
}


def test_the_tables_hold_what_was_promised() -> None:
    assert min(map(len, (RECIPES, FILES, DATA, LAUNCHERS, PREPARE, TRANSLATE))) > 0
    assert len(TRAINING) + len(PREPARE) + len(TRANSLATE) >= 60


@pytest.mark.parametrize("case", TRAINING.values(), ids=TRAINING.keys())
def test_training_is_refused(case: Case, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(case, cache, capsys)


def test_missing_gpu(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    case = quick("device=cuda", says=("device: found cuda", "sees no GPU", "auto, cpu"))
    refused(case, cache, capsys)


@pytest.mark.parametrize(
    ("batch", "ranks", "micro", "says"),
    [
        (8, 3, None, ("found 8", "3 ranks", "batch_size=6 or 9", "or 8, 4, 2, 1 ranks")),
        (2, 4, None, ("found 2", "4 ranks", "batch_size=4 works")),
        (8, 2, 3, ("micro_batch_size: found 3", "4 images", "allowed: 4, 2, 1")),
    ],
)
def test_batches_that_do_not_divide(
    batch: int, ranks: int, micro: int | None, says: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        batch_split.split(batch, ranks, micro)
    text = str(refusal.value)
    assert "\n" not in text
    assert [part for part in says if part not in text] == []


# -- runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with `images` and the run of them, `runs/pix2pix`."""
    folder = tmp_path_factory.mktemp("trained")
    folder_of("images", *pairs(8))(folder)
    signals = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        assert train_main([*TRAIN, "ema.half_life=8"]) == 0
    for number, handler in signals.items():
        signal.signal(number, handler)
    assert list(folder.glob("runs/pix2pix/checkpoints/*/state.json"))
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The trained run, to be refused, in the test's own folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "pix2pix"


LONGER = (*TRAIN, "ema.half_life=8", "length=16")


@pytest.mark.usefixtures("run")
def test_resuming_another_recipe(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says = (
        "runs/pix2pix was started with another recipe", "run=OTHER",
        "seed: 0 -> 3", "optimizer.lr: 0.00057 -> 0.01",
    )  # fmt: skip
    case = Case((*LONGER, "seed=3", "optimizer.lr=0.01"), says, lines=3)
    refused(case, cache, capsys)


def test_resuming_with_other_data(
    run: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.parents[1] / "images" / "0.png").write_bytes(image(32, 64, seed=99))
    says = ("data.train", "holds other data (fingerprint", "run=OTHER")
    refused(Case(LONGER, says), cache, capsys)


def test_run_in_use(
    run: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantrain.runs.run_folder._PATIENCE_SECONDS", 0)
    with (run / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        says = ("run: runs/pix2pix is being written by another process", "run=OTHER")
        refused(Case(LONGER, says), cache, capsys)


def test_resuming_a_broken_state(
    run: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = next(run.glob("checkpoints/*/state.json"))
    state.write_text("{")
    refused(Case(LONGER, ("state.json is damaged", "remove its folder")), cache, capsys)


def test_refusal_gives_the_run_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one process, as from Python: the next, right call isn't told that the run is in use."""
    assert train_main([*LONGER, "seed=3"]) == 2
    assert train_main([*TRAIN, "ema.half_life=8"]) == 0
    assert "already finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("workers", "length", "reason"),
    [
        (0, None, "do not match"),
        (1, None, "do not match"),
        pytest.param(1, 1000, "0 bytes of", marks=pytest.mark.exhaustive),
        pytest.param(0, 0, "0 byt", marks=pytest.mark.slow),
    ],
)
def test_all_samples_damaged(
    workers: int,
    length: int | None,
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bytes that rot or are lost under a sound index: found when the run reads them."""
    shards()(tmp_path)
    tar = tmp_path / "images" / "s-000000.tar"
    content = bytearray(tar.read_bytes())
    content[1536::7] = bytes(len(content[1536::7]))
    tar.write_bytes(content[:length])
    status = train_main([*TRAIN, f"data.workers={workers}"])
    says = ("100 damaged samples in a row", reason, "again")
    assert_complaint(capsys.readouterr().err, Case((), says))
    assert status == 1
    assert json.loads((tmp_path / "runs/pix2pix/status.json").read_text())["state"] == "failed"


# -- prepare and translate -------------------------------------------------------------------------

PREPARE = {
    "existing folder": Case(("images", "--out", "old"), ("old exists and is never overwritten",)),
    "missing folder": Case(("nope", "--out", "new"), ("nope does not exist", "check the path")),
    "a file": Case(("old/kept", "--out", "new"), ("is a file, not a folder",)),
    "empty folder": Case(("empty", "--out", "new"), ("found: nothing",)),
    "unknown layout": Case(
        ("images", "--out", "new", "--as", "triples"), ("'triples' is not known", "pairs, folders")
    ),
    "not cityscapes": Case(
        ("images", "--out", "new", "--as", "cityscapes"), ("images like leftImg8bit/train",)
    ),
    "size": Case(
        ("images", "--out", "new", "--resize", "big"), ("--resize: found 'big'", "such as 256x512")
    ),
    "small size": Case(
        ("images", "--out", "new", "--resize", "4x4"), ("--resize 4x4", "16x16")
    ),
    "labels in pairs": Case(
        ("images", "--out", "new", "--labels", "left"), ("--labels left", "a folder of their own")
    ),
    "classes of nothing": Case(
        ("images", "--out", "new", "--classes", "4"), ("--classes 4", "name one with --labels")
    ),
    "unwritable": Case(("images", "--out", "old/kept/new"), ("cannot be made", "not a folder")),
}  # fmt: skip

TRANSLATE = {
    "no checkpoint": Case(("nope", "in.png", "--out", "new"), ("checkpoint: found none at nope",)),
    "no input": Case(
        ("runs/pix2pix", "no.png", "--out", "new"), ("input: no file or folder no.png",)
    ),
    "folder without images": Case(
        ("runs/pix2pix", "empty", "--out", "new"), ("input: no images in empty", ".png")
    ),
    "not an image": Case(
        ("runs/pix2pix", "old/kept", "--out", "new"),
        ("none of 1 files", "kept: does not decode: cannot identify"),
    ),
    "wrong channels": Case(
        ("runs/pix2pix", "five.npy", "--out", "new"),
        ("five.npy: found uint8 with 5", "uint8 with 3"),
    ),
    "existing results": Case(
        ("runs/pix2pix", "in.png", "--out", "done"),
        ("done/in.png exists, and no record says what made it", "choose another folder, or --overwrite"),
    ),
    "one name twice": Case(
        ("runs/pix2pix", "in.png", "images/in.png", "--out", "new"), ("would both become in.png",)
    ),
    "output is a file": Case(
        ("runs/pix2pix", "in.png", "--out", "old/kept"), ("--out: cannot write old/kept",)
    ),
    "device": Case(
        ("runs/pix2pix", "in.png", "--out", "new", "--device", "tpu"), ("found 'tpu'", "here: cpu")
    ),
    "weights cut short": Case(
        ("cut", "in.png", "--out", "new"), ("generator.safetensors is damaged", "remove its folder")
    ),
    "weights of another network": Case(
        ("other", "in.png", "--out", "new"), ("the generator in", "not the one of its recipe.yaml")
    ),
}  # fmt: skip


@pytest.fixture
def things(run: Path, tmp_path: Path) -> None:
    """What the commands above are given."""
    for name in ("empty", "old", "done"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "kept").write_text("mine")
    for name in ("in.png", "images/in.png", "done/in.png"):
        (tmp_path / name).write_bytes(image(32, 64))
    (tmp_path / "five.npy").write_bytes(encode(np.zeros((32, 32, 5), np.uint8), "npy"))
    cut, other = (shutil.copytree(run, tmp_path / name) for name in ("cut", "other"))
    os.truncate(next(cut.glob("checkpoints/*/ema/generator.safetensors")), 100)
    recipe = next(other.glob("checkpoints/*/recipe.yaml"))
    recipe.write_text(recipe.read_text().replace("levels: 2", "levels: 3"))


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    ("command", "case"),
    [
        pytest.param(command, case, id=f"{command}: {name}")
        for command, cases in {"prepare": PREPARE, "translate": TRANSLATE}.items()
        for name, case in cases.items()
    ],
)
def test_command_is_refused(command: str, case: Case, cache: Path) -> None:
    with nothing_changes(cache):
        result = CliRunner().invoke(app, [command, *case.words])
    assert isinstance(result.exception, SystemExit), result.exception
    assert_complaint(result.stderr, case)
    assert result.exit_code == 2


# -- real processes --------------------------------------------------------------------------------


ENTRIES = {
    "path": [sys.executable, str(ROOT / "gantrain" / "train.py")],
    "module": [sys.executable, "-m", "gantrain.train"],
    "command": [str(Path(sys.executable).with_name("gantrain")), "train"],
    "package": [sys.executable, "-m", "gantrain", "train"],
}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_tells_it_alike(entry: str, cache: Path) -> None:
    """In a process of its own, started far from the repository."""
    with nothing_changes(cache):
        done = subprocess.run(
            [*ENTRIES[entry], "recipe=quickstart", "batchsize=8"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    case = Case((), ("gantrain: batchsize: unknown key; did you mean batch_size?",))
    assert_complaint(done.stderr, case)
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("batchsize=8",), "gantrain: batchsize: unknown key"),
        pytest.param(
            ("batch_size=3",),
            "gantrain: batch_size: found 3, which 2 ranks can't share",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            ("data=nowhere",),
            "gantrain: data.train: no folder nowhere",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_under_torchrun_one_rank_tells_it(
    words: tuple[str, ...], says: str, tmp_path: Path, cache: Path
) -> None:
    with nothing_changes(cache):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node=2", str(ROOT / "gantrain" / "train.py"), *QUICK, *words),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 1  # torchrun's for any failure
    ours = [line for line in done.stderr.splitlines() if line.startswith("gantrain: ")]
    assert len(ours) == 1, done.stderr
    assert ours[0].startswith(says)
