"""``danqing`` and ``python -m danqing``: the command line, which may be interrupted while it is still being read."""

import os
import sys


def main() -> None:
    """`danqing.cli.app.main`."""
    for number in range(3):  # the next file that is opened would take the place of a closed stream, and get its lines
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    try:
        from .cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
