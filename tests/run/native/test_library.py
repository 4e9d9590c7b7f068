"""A kernel is used where it is there, fit and right; else torch computes, and why is said."""

import ctypes
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from danqing.errors import UnknownName
from danqing.run.native import attention as attention_module
from danqing.run.native import build, chosen, convolution, gated, library, linear, normalise, octets, switch
from danqing.run.native.attention import KERNELS, attention
from danqing.run.native.chosen import kernels
from danqing.run.native.library import Kernel, Missing, NativeWarning

KERNEL = KERNELS[torch.float32]
here = pytest.mark.kernels(KERNEL.name)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No kernel is compiled yet: the folders of the package and of the user are empty."""
    monkeypatch.setattr(library, "BUILT", tmp_path / "built")
    monkeypatch.setattr(library, "cache", lambda: tmp_path / "cache")
    KERNEL.forget()
    yield tmp_path / "cache"
    KERNEL.forget()


def is_torchs():
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(1, 2, 9, 41, generator=draw)
    return torch.equal(attention(q, q, q), F.scaled_dot_product_attention(q, q, q))


def test_a_machine_with_a_compiler_and_the_instructions_runs_them_all(processor, has):
    for name, state in kernels().items():
        assert (state in build.KERNELS[name]) == has(name, processor), state


@here
def test_a_kernel_is_compiled_once(kernel, nowhere):
    assert KERNEL.reason() == ""
    (made,) = nowhere.iterdir()
    before = made.stat().st_mtime_ns
    KERNEL.forget()
    assert KERNEL.reason() == "" and made.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "command, said", [("no-such-compiler", "no-such-compiler was not found"), ("false", "could not compile")]
)
def test_without_a_compiler_torch_computes(nowhere, monkeypatch, command, said):
    monkeypatch.setenv("CXX", command)
    assert is_torchs()
    assert said in KERNEL.reason() or "for Linux on x86-64" in KERNEL.reason() or "processor" in KERNEL.reason()
    assert not nowhere.exists() or not list(nowhere.iterdir())


@here
def test_threads_that_ask_at_once_are_answered_alike(kernel, nowhere):
    with ThreadPoolExecutor(4) as together:
        assert set(together.map(lambda _: KERNEL.reason(), range(4))) == {""}
    assert len(list(nowhere.iterdir())) == 1


@here
def test_a_cache_that_cannot_be_written_does_no_harm(kernel, nowhere):
    nowhere.parent.mkdir(exist_ok=True)
    nowhere.write_text("a file where the folder should be")
    assert is_torchs() and "cannot be written" in KERNEL.reason()


@here
def test_a_library_that_is_none_does_no_harm(kernel, nowhere):
    nowhere.mkdir()
    for instructions in build.KERNELS[KERNEL.name]:
        build.library(nowhere, KERNEL.name, instructions).write_bytes(b"\x7fELF, but no more")
    assert is_torchs() and KERNEL.reason()


@here
def test_a_wrong_kernel_is_switched_off_with_a_warning(kernel, monkeypatch):
    monkeypatch.setattr(attention_module, "distance", lambda *_: torch.nan)
    KERNEL.forget()
    try:
        with pytest.warns(NativeWarning, match="attention_fp32 for .* is wrong on this machine"):
            assert is_torchs()
        assert not KERNEL.functions and "switched off" in KERNEL.reason()
    finally:
        KERNEL.forget()


@here
def test_the_switch_leaves_out_all_or_some_and_may_be_turned_at_any_time(kernel, monkeypatch):
    monkeypatch.setenv("DANQING_KERNELS", "on")  # whatever was measured on this machine
    monkeypatch.setattr(switch, "_given", "on")
    states = kernels()
    assert states["attention_fp32"] in build.SETS
    switch.turn("off")
    assert is_torchs() and all("DANQING_KERNELS" in state or "processor" in state for state in kernels().values())
    switch.turn("winograd, attention_bf16")
    assert "DANQING_KERNELS" in kernels()["winograd"] and kernels()["attention_fp32"] in build.SETS
    with pytest.raises(UnknownName, match="winograd"):
        switch.turn("winnograd")
    assert switch.given() == os.environ["DANQING_KERNELS"] == "winograd, attention_bf16"
    switch.turn("on")
    assert kernels() == states


def test_every_kernel_has_a_source_and_every_source_a_kernel():
    named = {source for sets in build.KERNELS.values() for source in sets.values()}
    assert named == {path.stem for path in build.SOURCES.glob("*.cpp")}
    assert {each for sets in build.KERNELS.values() for each in sets} == build.SETS.keys()
    assert {kernel.name for kernel in chosen.every()} == set(build.KERNELS)


def test_the_fields_of_a_call_are_those_of_the_struct():
    """Python packs what C++ reads: as many pointers, numbers and fractions, in this order."""
    kinds = {"int64_t": "q", "double": "d", "Pool": "P"}
    for module, file, name in (
        (attention_module, "attention.h", "Attention"),
        (normalise, "normalise.cpp", "Normalise"),
        (gated, "gated.cpp", "Gated"),
        (convolution, "winograd.h", "Convolution"),
        (linear, "linear.h", "Linear"),
        (octets, "octets.h", "Bytes"),
    ):
        body = re.search(rf"struct {name} {{(.*?)}};", (build.SOURCES / file).read_text(), re.S)[1]
        fields = ""
        for kind, names in re.findall(r"^\s+(?:const )?(\w+)(\*? .*);", body, re.M):
            fields += ("P" if "*" in names else kinds[kind]) * len(names.split(","))
        packed = re.sub(r"(\d+)(\w)", lambda match: int(match[1]) * match[2], module.CALL.format.lstrip("@"))
        assert fields == packed


def test_a_processor_with_amx_leaves_attention_to_its_tiles_or_to_torch(monkeypatch):
    from danqing.run.processor import Cpu

    for flags, found in (
        (build.SETS["amx-bf16"], ["amx-bf16"]),
        (build.SETS["avx512-bf16"], ["avx512-bf16"]),
        (("avx2",), []),
    ):
        monkeypatch.setattr(library, "cpu", lambda flags=flags: Cpu(model="", flags=frozenset(flags)))
        assert library.candidates("attention_bf16") == found


def test_tiles_that_the_system_does_not_lend_are_not_used(tiles, folder):
    """Elsewhere the system lends none; the emulated ones are lent always."""
    path = build.compile("attention_bf16", "amx-bf16", folder)
    kernel = Kernel("attention_bf16", ("attention",), attention_module.test, 4)
    found = ctypes.CDLL(str(path))
    if found.usable():
        kernel.take(found, "amx-bf16")
        assert kernel.instructions == tiles.instructions
    else:
        with pytest.raises(Missing, match="lends no amx-bf16"):
            kernel.take(found, "amx-bf16")
