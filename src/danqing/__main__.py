"""``python -m danqing`` is the command line."""

from danqing.cli import main

if __name__ == "__main__":
    main()
