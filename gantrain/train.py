"""The main job: `accelerate launch gantrain/train.py recipe=NAME a.b=c`.

Also `accelerate launch -m gantrain.train`, `torchrun gantrain/train.py`, `gantrain train`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Started by path, Python puts gantrain/ on sys.path instead of the folder that holds it:
    # `import gantrain` would fail, and gantrain's files would hide other packages of their name.
    here = Path(__file__).resolve().parent
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != here]
    sys.path.insert(0, str(here.parent))

    if {"-h", "--help"} & set(sys.argv[1:]):
        from gantrain.cli.main import main

        sys.exit(main(["train", "--help"]))
    from gantrain.cli.train_command import train_main

    sys.exit(train_main(sys.argv[1:]))
else:
    # `gantrain.train` is a function as well; importing this file must not hide it.
    from gantrain.training.start import train

    sys.modules[__name__] = train  # type: ignore[assignment]
