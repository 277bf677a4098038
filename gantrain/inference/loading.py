"""`load()`: finds a trained model, and makes its Translator."""

import os
from pathlib import Path

import torch

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import naming_too_large
from gantrain.importers.import_file import opened
from gantrain.inference.translator import Translator
from gantrain.runs.best_checkpoint import find_best_checkpoint


def load(
    path: str | Path,
    device: str | None = None,
    *,
    back: bool = False,
    style: str | None = None,
    best: bool = False,
    precision: str = "fp32",
) -> Translator:
    """Load the model of a run, of one checkpoint, or of a file that `gantrain import` knows.

    A run gives its latest checkpoint. back, style: see Translator. best: take the best
    checkpoint by the run's `evaluate.best_by`. precision: `fp32`; `bf16`, which is faster on much
    hardware and changes the images a little; or `auto`, which is bf16 on GPUs that have it, and on
    CPUs where it is at least 1.2 times as fast. Loading executes no code of the checkpoint. Raises
    UserError if there is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(
            f"path: found {path!r:.60}, allowed: the path of a run, a checkpoint or a file"
        )
    chosen_device = _choose_device(device)
    if best:
        chosen_checkpoint = find_best_checkpoint(path)
        say(chosen_checkpoint.line())
        path = chosen_checkpoint.folder
    advice = "free memory there, or choose another device"
    with (
        opened(path) as folder,
        naming_too_large(f"checkpoint: {path}", chosen_device, advice),
    ):
        model = Translator(folder, chosen_device, back=back, style=style, precision=precision)
    if Path(path).is_file():  # whose folder was a temporary one
        model.checkpoint = Path(path)
    return model


def _choose_device(name: str | None) -> torch.device:
    """Return the named device, or the usual one. Raises UserError where it is not here."""
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = name or usual
    available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    has_gpu = len(available) > 1
    if chosen not in available and not (chosen == "cuda" and has_gpu):
        is_gpu = isinstance(chosen, str) and chosen.startswith("cuda")
        lack = ", but PyTorch sees no GPU" if is_gpu and not has_gpu else ""
        raise UserError(f"device: found {chosen!r}{lack}; allowed here: {', '.join(available)}")
    return torch.device(chosen)
