"""The launchers that come with gantrain, for accelerate and SLURM: a list, and copies."""

import difflib
import shutil
from pathlib import Path

from gantrain.core import files
from gantrain.core.error_messages import one_line, with_allowed
from gantrain.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
# The folder of an installed wheel, and that of a clone.
_PLACES = (_PACKAGE / "_launchers", _PACKAGE.parent / "launchers")
_IN_A_CLONE_ONLY = "slurm/benchmark.sbatch"  # it starts a script that a wheel doesn't have

# Files that are of no use alone, by the files beside which they are copied.
_NEEDED = {
    "accelerate/deepspeed_zero1.yaml": "deepspeed/zero1.json",
    "accelerate/deepspeed_zero2.yaml": "deepspeed/zero2.json",
    "slurm/train.sbatch": "slurm/env.sh",
    "slurm/evaluate.sbatch": "slurm/env.sh",
}


def launchers() -> dict[str, str]:
    """Return the purpose of each launcher by its name, the path below the folder `launchers`."""
    folder = _folder()
    purposes: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != _IN_A_CLONE_ONLY and name not in _NEEDED.values():
            purposes[name] = _purpose(path)
    return purposes


def copy_launchers(name: str, out: Path, overwrite: bool) -> list[Path]:
    """Copy a launcher, a folder of them or `all`, with the files that they need.

    Returns the copies.
    Raises UserError for an unknown name, and for files that are there, where `overwrite` is false.
    """
    folder = _folder()
    chosen = dict.fromkeys(_chosen(name))
    chosen |= dict.fromkeys(_NEEDED[launcher] for launcher in list(chosen) if launcher in _NEEDED)
    copies = [out / launcher for launcher in chosen]
    existing = [str(copy) for copy in copies if copy.exists()]
    if existing and not overwrite:
        raise UserError(
            f"launchers: {', '.join(existing)} exist already; give another --out, or --overwrite"
        )
    for launcher, copy in zip(chosen, copies, strict=True):
        try:
            _copy(folder / launcher, copy, out)
        except OSError as error:
            raise UserError(
                f"--out: cannot write {copy} ({error.strerror}); give another folder"
            ) from None
    return copies


def _copy(source: Path, copy: Path, out: Path) -> None:
    """Copy one file; the paths in it that begin with `launchers/` begin with `out` in the copy."""
    text = source.read_text(encoding="utf-8")
    copy.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(copy, text.replace("launchers/", f"{out.as_posix()}/"))
    shutil.copymode(source, copy)


def _chosen(name: str) -> list[str]:
    """Return the launchers that a name stands for. Raises UserError for an unknown one."""
    known = list(launchers())
    if name == "all":
        return known
    short_name = name.strip("/").removeprefix("launchers/")
    chosen = [launcher for launcher in known if short_name in _names_of(launcher)]
    if not chosen:  # the name of a folder
        chosen = [launcher for launcher in known if launcher.startswith(f"{short_name}/")]
    if not chosen:
        names = [*known, *(Path(launcher).stem for launcher in known)]
        close = difflib.get_close_matches(short_name, names, 1)
        hint = f"did you mean {close[0]}?" if close else ""
        advice = with_allowed(hint, ["all", *known], ", or a folder")
        raise UserError(f"launchers: found {one_line(name)!r}, {advice}")
    return chosen


def _names_of(launcher: str) -> tuple[str, str, str]:
    """Return the names that a user may give to a launcher."""
    path = Path(launcher)
    return (launcher, path.stem, path.name)


def _folder() -> Path:
    """Return the folder of the launchers. Raises UserError where the installation lacks it."""
    for place in _PLACES:
        if place.is_dir():
            return place
    raise UserError(f"launchers: found none in {_PACKAGE}; install gantrain again")


def _purpose(path: Path) -> str:
    """Return the first sentence of a launcher's comment."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("#!"):
            return line.lstrip("# ").rstrip(":.")
    return ""
