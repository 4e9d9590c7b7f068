"""Laws of freed pages: kept, none is taken before it is used; in the frugal way they are the system's again."""

import platform
import subprocess
import sys

import pytest

#: Prints by how many MB a process grows by the call itself, and by 64 MB that were written and freed again.
FREED = """
import ctypes, sys
from danqing.run import pages

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

begin = resident()
for name in sys.argv[1:]:
    getattr(pages, name)()
called = resident()
data = ctypes.CDLL(None)
data.malloc.restype, data.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
data.free.argtypes, data.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
piece = data.malloc(64 << 20)
data.memset(piece, 1, 64 << 20)
data.free(piece)
print(called - begin, resident() - called)
"""


@pytest.mark.parametrize(("calls", "kept"), [([], False), (["keep"], True), (["keep", "frugal"], False)])
def test_freed_pages_are_kept_where_glibc_is_until_room_is_wanted(calls, kept):
    if sys.platform == "linux":
        found = subprocess.check_output([sys.executable, "-c", FREED, *calls], text=True)
        called, stays = map(float, found.split())
        assert called < 8
        assert (stays > 60) == (kept and platform.libc_ver()[0] == "glibc")


def test_elsewhere_nothing_happens(monkeypatch):
    from danqing.run import pages

    for error in (OSError, AttributeError, TypeError):

        def none(name, error=error):
            raise error

        monkeypatch.setattr(pages.ctypes, "CDLL", none)
        pages.keep.__wrapped__()
        pages.frugal.__wrapped__()
