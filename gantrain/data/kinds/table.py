"""The table of kinds."""

from gantrain.core.errors import UserError
from gantrain.core.wording import import_advice
from gantrain.data.kinds.image import ImageKind
from gantrain.data.kinds.instances import Instances
from gantrain.data.kinds.kind import Kind
from gantrain.data.kinds.label import Label
from gantrain.data.kinds.mask import Mask

# By the name that an index holds.
KINDS: dict[str, Kind] = {kind.name: kind for kind in (ImageKind(), Label(), Instances(), Mask())}


def check_kind(name: str) -> str:
    """Return the name of a kind. Raises UserError for another name."""
    if name not in KINDS:
        raise UserError(f"allowed: {', '.join(KINDS)}; a kind of your own needs {import_advice()}")
    kind: object = KINDS[name]
    if not isinstance(kind, Kind):
        raise UserError(f"KINDS holds {kind!r:.60} there, allowed: an instance of a gantrain.Kind")
    return name
