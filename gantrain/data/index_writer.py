"""Write the index of a data set."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from gantrain.core import files, formats
from gantrain.core.errors import UserError
from gantrain.data.field import Field, check_fields
from gantrain.data.index import PARTS, Index, Shard, fingerprint
from gantrain.data.index_arrays import MOST_KEY_BYTES, Arrays


def save_index(
    folder: Path,
    fields: Mapping[str, Field],
    shards: list[Shard],
    keys: Iterable[str],
    rows: Mapping[str, list[int]],
    base: str | None = None,
) -> Index:
    """Write the index of samples into `folder`.

    rows: the arrays that `load` returns besides `keys`. base: as in `Index`. Raises UserError for
    what no index may state.
    """
    arrays: Arrays = {}
    for name, row in rows.items():
        part = name.rpartition("_")[2]
        arrays[name] = np.array(row, PARTS[part])
    arrays["keys"] = np.array([key.encode(errors="surrogateescape") for key in keys])
    key_bytes = arrays["keys"].dtype.itemsize
    if key_bytes > MOST_KEY_BYTES:
        raise UserError(
            f"{folder}: a sample's name has {key_bytes} bytes, allowed: {MOST_KEY_BYTES}; rename it"
        )
    check_fields(fields)
    index = Index.model_validate(
        {
            "format": formats.INDEX,
            "samples": len(arrays["keys"]),
            "fingerprint": fingerprint(fields, shards, arrays),
            "shards": shards,
            "fields": dict(fields),
            "base": base,
        }
    )
    with files.replacing(folder / "index.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    files.write_text(folder / "index.json", index.model_dump_json(indent=1) + "\n")
    return index
