"""For the tests of the kernels: each is tested as it is chosen here, and as it is for lesser processors."""

import ctypes
from pathlib import Path

import pytest
import torch

from danqing.run.device import Cpu, cpu
from danqing.run.native import attention, build, convolution, library, normalise

ALL = (*attention.KERNELS.values(), normalise.KERNEL, convolution.KERNEL)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where kernels are compiled that no package brings."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module", autouse=True)
def anew():
    """What a test found out about the kernels holds for nobody else."""
    yield
    for kernel in ALL:
        kernel.forget()


@pytest.fixture(scope="module", params=["all", "avx512", "avx2"])
def processor(request, folder):
    """This processor, and those that know less."""
    flags = cpu().flags
    if request.param != "all":
        less = frozenset(build.SETS[request.param])
        if not flags > less:
            pytest.skip(f"the processor has no more than {request.param}, or less")
        flags = less
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "cpu", lambda: Cpu(model="", flags=flags))
        patch.setattr(library, "cache", lambda: folder)
        for kernel in ALL:
            kernel.forget()
        yield request.param


def needed(kernel):
    if reason := kernel.reason():
        pytest.skip(reason)
    return kernel


@pytest.fixture(params=list(attention.KERNELS), ids=["bf16", "fp32"])
def dtype(request, processor):
    """A dtype that attention has a kernel for."""
    needed(attention.KERNELS[request.param])
    return request.param


@pytest.fixture
def norms(processor):
    return needed(normalise.KERNEL)


@pytest.fixture
def winograd(processor):
    return needed(convolution.KERNEL)


@pytest.fixture(scope="session")
def tiles(folder):
    """The kernel for AMX, its tiles emulated: it runs where AVX512-BF16 is."""
    if not cpu().flags.issuperset(build.SETS["avx512-bf16"]):
        pytest.skip("the rest of the kernel needs AVX512-BF16")
    kernel = library.Kernel("attention_bf16", ("attention",), attention.test, 4)
    try:
        path = build.compile(
            "attention_bf16", "amx-bf16", folder / "tiles", ("-include", str(Path(__file__).parent / "tiles.h"))
        )
    except build.NotBuilt as reason:
        pytest.skip(str(reason))
    kernel.take(ctypes.CDLL(str(path)), "amx-bf16")
    return kernel


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
