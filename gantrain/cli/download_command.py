"""`gantrain download`."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors


@reports_errors
def download(
    name: Annotated[str, typer.Argument(help="such as facades or horse2zebra")],
    out: Annotated[Path, typer.Option(help="folder in which NAME is made")] = Path("data"),
    source: Annotated[
        Path | None, typer.Option(help="the archive, where it is on the disk already")
    ] = None,
) -> None:
    """Fetch and unpack an archive."""
    from gantrain.data.download import download as get

    get(name, out, source)
