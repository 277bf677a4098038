"""`python -m gantrain`: the same as the `gantrain` command."""

from gantrain.cli import app

if __name__ == "__main__":
    app()
