"""``python -m roadrunner_trio``: the command line."""

from .command.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
