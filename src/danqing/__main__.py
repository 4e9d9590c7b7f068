"""``danqing`` and ``python -m danqing``: the command line, which may be interrupted while it is still being read."""

import sys


def main() -> None:
    """`danqing.cli.main`."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
