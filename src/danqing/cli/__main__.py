"""``python -m danqing.cli`` is the command ``danqing``."""

from .app import main

if __name__ == "__main__":
    main()
