"""`python -m gantrain`: the same as the `gantrain` command."""

import sys

from gantrain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
