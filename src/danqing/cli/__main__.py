"""``python -m danqing.cli`` is the command ``danqing``."""

from . import main

if __name__ == "__main__":
    main()
