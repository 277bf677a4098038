"""A user's own modules: their import by name, and the names that a checkpoint records.

Importing is never automatic. A recipe or a checkpoint is data, and neither imports anything.
"""

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from gantrain.core.errors import UserError
from gantrain.core.own_code import describe_error, is_own

OPTION = "--import"
_ALLOWED = "allowed: a module's name, of a file in the working folder or on PYTHONPATH"
INTERACTIVE = "__main__"  # stands for a notebook, an interactive session or `python -c`
_MOST_CHARACTERS = 200

_imported: list[str] = []  # by the option
_being_imported: list[str] = []


def import_modules(names: Sequence[str]) -> None:
    """Import the modules that a command line names, from the working folder or Python's path.

    Raises UserError, in one line, for a module that cannot be found or that raises an exception.
    """
    folder = os.getcwd()
    if names and folder not in sys.path:
        sys.path.insert(0, folder)  # where `python script.py` and `python -m` look first, too
    for name in names:
        _import(name)
        if name not in _imported:
            _imported.append(name)


def _import(name: str) -> None:
    if name.endswith(".py") or os.sep in name:
        raise UserError(_describe_file(name))
    if not is_module_name(name):
        raise UserError(f"{OPTION}: found {name!r:.100}, {_ALLOWED}")
    _being_imported.append(name)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if _is_about(error, name):
            raise UserError(f"{OPTION}: there is no module {name!r}, {_ALLOWED}") from None
        raise UserError(
            f"{OPTION}: {name!r} raised {describe_error(error)}; install or correct it"
        ) from None
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{OPTION}: {name!r} raised {describe_error(error)}; correct it there"
        ) from None
    finally:
        _being_imported.pop()


def _is_about(error: ModuleNotFoundError, name: str) -> bool:
    """Return whether the module itself, or a package around it, is missing.

    It is false where a module lacks something that it imports.
    """
    missing = error.name or ""
    return name == missing or name.startswith(f"{missing}.")


def _describe_file(name: str) -> str:
    path = Path(name)
    folder = "" if path.parent == Path() else f"PYTHONPATH={path.parent} and "
    return f"{OPTION}: found the file {name!r}, {_ALLOWED}; give {folder}{OPTION} {path.stem}"


def split_imports(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the modules that `--import MODULE` or `--import=MODULE` name, and the other words.

    Raises UserError where a module's name is missing.
    """
    modules: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == OPTION:
            modules.append(next(rest, ""))
        elif word.startswith(f"{OPTION}="):
            modules.append(word.partition("=")[2])
        else:
            others.append(word)
    if "" in modules:
        raise UserError(f"{OPTION}: found no name, allowed: a module's name, as in {OPTION} mine")
    return modules, others


def check_not_importing() -> None:
    """Refuse to train while a module is imported by the option. Raises UserError."""
    if _being_imported:
        name = _being_imported[-1]
        raise UserError(
            f"train() was called while {OPTION} imported {name}; put the call below `if __name__ =="
            " '__main__':`"
        )


def modules_to_record(classes: Iterable[object]) -> list[str]:
    """Return the modules that a later command has to import.

    These are the modules that the option named, and those of own classes. classes: all that the
    recipe names, gantrain's own among them.
    """
    names = list(_imported)
    for cls in classes:
        if is_own(cls):
            names.append(_importable_name(cls.__module__))
    return list(dict.fromkeys(names))


def is_module_name(name: str) -> bool:
    """Return whether a text is a module's dotted name of a plausible length."""
    return len(name) <= _MOST_CHARACTERS and all(part.isidentifier() for part in name.split("."))


def _importable_name(module: str) -> str:
    """Return the name by which another process can import a module; a script has its file's."""
    name = _main_name() if module == "__main__" else module
    return name if is_module_name(name) else INTERACTIVE


def _main_name() -> str:
    """Return the name of the script that Python was started with.

    It is INTERACTIVE where there is no script to import.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m package.module
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else INTERACTIVE


class ModulesMissing(UserError):
    """A checkpoint was made with a user's modules, which this process has not imported."""


def check_imported(modules: Iterable[str], checkpoint: Path) -> None:
    """Raise ModulesMissing where this process lacks modules that a checkpoint records."""
    missing = [name for name in modules if not _is_here(name)]
    if missing:
        options = " ".join(f"{OPTION} {name}" for name in missing)
        statements = "; ".join(f"import {name}" for name in missing)
        raise ModulesMissing(
            f"checkpoint: {checkpoint} was made with {_counted(missing)}, which this process has"
            f" not imported; add {options} to the command (in Python: `{statements}` first)"
        )


def _counted(names: Sequence[str]) -> str:
    word = "the module" if len(names) == 1 else "the modules"
    return f"{word} {', '.join(names)}"


def _is_here(name: str) -> bool:
    return name == INTERACTIVE or name in sys.modules or name == _main_name()


def interactive_advice(modules: Iterable[str]) -> str:
    """Return the advice on an unknown name where classes of a notebook were used.

    Otherwise the text is empty.
    """
    if INTERACTIVE not in modules:
        return ""
    return (
        "; its classes were defined in a notebook or an interactive session: put them into a file, "
        f"such as mine.py, and give {OPTION} mine (in Python: `import mine` first)"
    )
