"""``danqing`` and ``python -m danqing``: the command line, which may be interrupted while it is still being read."""

import sys


def main() -> None:
    """`danqing.cli.app.main`."""
    try:
        from .cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
