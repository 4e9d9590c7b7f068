"""For the tests of the kernels: each is tested as it is chosen here, and as it is for lesser processors."""

import ctypes
import os
from pathlib import Path

import pytest
import torch

from danqing.run.native import attention, build, chosen, library
from danqing.run.processor import Cpu, cpu

ALL = {kernel.name: kernel for kernel in chosen.every()}
#: This processor's flags, and those of lesser ones that it can play.
PROCESSORS = {"all": cpu().flags} | {
    name: frozenset(build.SETS[name])
    for name in ("avx512-bf16", "avx512", "avx2")
    if cpu().flags > frozenset(build.SETS[name])
}


def has(name, where):
    """Whether a kernel can be compiled and run by one of these processors."""
    try:
        build.compiler()
    except build.NotBuilt:
        return False
    if name in library.PRODUCTS and "amx_bf16" in PROCESSORS[where]:
        return ALL[name].reason() == ""  # the system may keep the tiles to itself
    return any(PROCESSORS[where].issuperset(build.SETS[each]) for each in build.KERNELS[name])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where kernels are compiled that no package brings, for all the processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"


@pytest.fixture(scope="module", autouse=True)
def anew():
    """What a test found out about the kernels holds for nobody else."""
    yield
    for kernel in ALL.values():
        kernel.forget()


@pytest.fixture(name="has")
def _has():
    return has


@pytest.fixture(scope="module")
def processor(request, folder):
    """This processor, or one that knows less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "cpu", lambda: Cpu(model="", flags=PROCESSORS[request.param]))
        patch.setattr(library, "cache", lambda: folder)
        for kernel in ALL.values():
            kernel.forget()
        yield request.param


@pytest.fixture
def kernel(request, processor):
    """A kernel, which runs."""
    found = ALL[request.param]
    assert found.reason() == ""
    return found


@pytest.fixture
def dtype(kernel):
    """The dtype that the kernel of attention is for."""
    return next(each for each, found in attention.KERNELS.items() if found is kernel)


@pytest.fixture(scope="session")
def tiles(request, folder):
    """The kernel for AMX, its tiles emulated: it runs where AVX512-BF16 is."""
    kernel = library.Kernel("attention_bf16", ("attention",), attention.test, 4)
    header = str(Path(__file__).parent / "tiles.h")
    path = build.compile("attention_bf16", "amx-bf16", folder / "tiles", ("-include", header))
    kernel.take(ctypes.CDLL(str(path)), "amx-bf16")
    return kernel


def pytest_generate_tests(metafunc):
    """Each kernel that a test is marked to be about, on each of the processors that have it; those of attention for a
    test that asks for a dtype."""
    if mark := metafunc.definition.get_closest_marker("kernels"):
        runs = [(where, name) for name in mark.args for where in PROCESSORS if has(name, where)]
        metafunc.parametrize(("processor", "kernel"), runs, indirect=True)
    elif "tiles" in metafunc.fixturenames:
        bf16 = any(has("attention_bf16", where) for where in PROCESSORS)
        metafunc.parametrize("tiles", ["emulated"] if bf16 else [], indirect=True)
    elif "processor" in metafunc.fixturenames:
        metafunc.parametrize("processor", PROCESSORS, indirect=True)


def pytest_collection_modifyitems(items):
    """Leave out tests of what this machine cannot compile or run."""
    items[:] = [item for item in items if not (mark := item.get_closest_marker("skip")) or "empty" not in str(mark)]


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def threads():
    """Sets torch's number of threads, for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
