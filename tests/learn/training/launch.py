"""Runs command lines of danqing in processes of their own, as ``python launch.py JOBS``, which load torch once
together.

JOBS is JSON: a list of groups, one after the other; a group is a list of command lines that run side by side, as
torchrun would start them. Prints how each ended: its exit code, or minus the number of the signal that killed it.
"""

import json
import os
import socket
import sys

import matplotlib.pyplot
import tensorboardX
import torch
import torch._dynamo  # optimisers load it when they are made

from danqing.cli import app
from danqing.learn.training import drive, experiment, parallel

LOADED = (matplotlib.pyplot, tensorboardX, torch, drive, experiment, parallel)


def begin(args: list[str], rank: int, count: int, port: int) -> int:
    """Fork a process that is one of ``count``; its number."""
    child = os.fork()
    if child:
        return child
    where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in where.items()})
    os.dup2(2, 1)
    code = 0
    try:
        app.main(args)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        code = 70
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    codes = []
    for group in json.loads(sys.argv[1]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [begin(args, rank, len(group), port) for rank, args in enumerate(group)]
        codes.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
