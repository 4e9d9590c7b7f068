"""The precision follows the machine, and only the user overrules it."""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from danqing.errors import InvalidInput, UnknownName
from danqing.run import device, precision, processor
from danqing.run.device import find_device, send, threads
from danqing.run.precision import NAMES, autocast, choose, find_precision, precision_name, scaler
from danqing.run.processor import Cpu, parse_cpuinfo, quota
from danqing.run.record import describe

ZEN5 = "processor\t: 0\nmodel name\t: AMD EPYC 9755\nflags\t\t: fpu sse2 avx avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE = "processor\t: 0\nmodel name\t: Intel Xeon 8480+\nflags\t\t: avx2 avx512f amx_bf16 amx_tile\n"
SKYLAKE_X = "processor\t: 0\nmodel name\t: Intel Xeon 6148\nflags\t\t: avx2 avx512f avx512vl\n"
ZEN3 = "processor\t: 0\nmodel name\t: AMD Ryzen 5 5600\nflags\t\t: fpu sse2 avx f16c avx2 vaes\n\nprocessor\t: 1\n"
OLD = "processor\t: 0\nmodel name\t: Intel Core 2\nflags\t\t: fpu sse2\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd fphp bf16 i8mm\n"


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Let the machine's cpuinfo say ``text``."""

    def say(text: str) -> None:
        file = tmp_path / "cpuinfo"
        file.write_text(text)
        monkeypatch.setattr(processor, "CPUINFO", file)
        processor.cpu.cache_clear()
        monkeypatch.setattr(precision.platform, "machine", lambda: "aarch64" if "Features" in text else "x86_64")

    yield say
    monkeypatch.undo()
    processor.cpu.cache_clear()


@pytest.mark.parametrize("text", [ZEN5, SAPPHIRE])
def test_bf16_where_the_processor_multiplies_it(fake, text):
    fake(text)
    assert find_precision("cpu") == torch.bfloat16
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("text", [ZEN3, SKYLAKE_X, OLD, ""])
def test_never_bf16_on_x86_without_it(fake, monkeypatch, text):
    monkeypatch.setattr(precision, "speedup", lambda dtype: 100.0)  # no measurement may talk it round
    fake(text)
    assert find_precision("cpu") == torch.float32
    assert isinstance(autocast("cpu"), nullcontext)


@pytest.mark.parametrize(("ratio", "dtype"), [(0.1, torch.float32), (1.1, torch.float32), (4.0, torch.bfloat16)])
def test_where_flags_do_not_decide_a_measurement_does(fake, monkeypatch, ratio, dtype):
    monkeypatch.setattr(precision, "speedup", lambda dtype: ratio)
    fake(GRAVITON)
    assert find_precision("cpu") == dtype


def test_the_measurement_counts_the_worse_of_product_and_convolution(monkeypatch):
    work = {2: {torch.float32: 4.0, torch.bfloat16: 1.0}, 4: {torch.float32: 3.0, torch.bfloat16: 6.0}}
    monkeypatch.setattr(precision, "seconds", lambda call, *inputs: work[call(*inputs).ndim][inputs[0].dtype])
    assert precision.speedup.__wrapped__(torch.bfloat16) == 0.5
    assert precision.speedup.__wrapped__(torch.float32) == 1.0


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((9, 0), torch.bfloat16), ((8, 6), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)],
)
def test_cuda_follows_the_compute_capability(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose(torch.device("cuda")) == dtype


def test_mps_computes_in_fp16():
    assert choose(torch.device("mps")) == torch.float16


@pytest.mark.parametrize("text", [ZEN5, ZEN3])
@pytest.mark.parametrize("short", list(NAMES))
def test_the_user_overrules_the_machine_by_argument_and_by_variable(fake, monkeypatch, text, short):
    fake(text)
    assert (
        find_precision("cpu", short)
        == find_precision("cpu", short.upper())
        == find_precision("cpu", NAMES[short])
        == NAMES[short]
    )
    monkeypatch.setenv(precision.VARIABLE, short)
    assert find_precision("cpu") == NAMES[short]
    assert find_precision("cpu", "fp32") == torch.float32
    assert find_precision("cpu", "auto") == (torch.bfloat16 if text == ZEN5 else torch.float32)


def test_an_unknown_precision_is_refused_with_the_nearest_name(monkeypatch):
    with pytest.raises(UnknownName, match="'bf16'"):
        find_precision("cpu", "bf61")
    monkeypatch.setenv(precision.VARIABLE, "fp23")
    with pytest.raises(UnknownName, match=r"DANQING_PRECISION.*'fp32'"):
        find_precision("cpu")


def test_names_and_dtypes_are_inverse():
    assert all(precision_name(dtype) == short for short, dtype in NAMES.items())
    assert precision_name(torch.float64) == "float64"


def test_an_unknown_device_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="'cuda'"):
        find_device("cdua")


def test_a_device_that_is_not_here_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(device, "available", lambda: ["cpu"])
    with pytest.raises(InvalidInput, match="use cpu"):
        find_device("cuda:0")
    with pytest.raises(InvalidInput, match="0 to 0"):
        find_device("cpu:3")
    assert find_device() == find_device("auto") == find_device("cpu") == torch.device("cpu")


def test_the_first_available_device_is_the_default(monkeypatch):
    monkeypatch.setattr(device, "available", lambda: ["cuda", "cpu"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device().type == "cuda" and find_device("cuda:1").index == 1
    with pytest.raises(InvalidInput, match="0 to 1"):
        find_device("cuda:2")


class Recorded(torch.Tensor):
    """A tensor that tells what is done with it, on a machine without the device."""

    def pin_memory(self):
        return SimpleNamespace(to=lambda where, non_blocking: ("pinned", where, non_blocking))


def test_what_is_sent_to_cuda_goes_through_pinned_memory_and_nothing_else_does():
    x = torch.arange(6.0).reshape(2, 3)
    assert send(x.as_subclass(Recorded), torch.device("cuda:1")) == ("pinned", torch.device("cuda:1"), True)
    assert torch.equal(send(x, torch.device("cpu")), x)
    assert send(x, torch.device("meta")).shape == x.shape


def test_the_scaler_scales_fp16_on_cuda_alone(monkeypatch):
    monkeypatch.setattr(device, "available", lambda: ["cuda", "cpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert scaler("cuda").is_enabled()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert not scaler("cuda").is_enabled()
    monkeypatch.setenv(precision.VARIABLE, "fp16")
    assert scaler("cuda").is_enabled() and not scaler("cpu").is_enabled()
    assert isinstance(autocast("cpu"), nullcontext)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ZEN5, "avx512-bf16"),
        (SAPPHIRE, "amx-bf16"),
        (SKYLAKE_X, "avx512"),
        (ZEN3, "avx2"),
        (GRAVITON, "neon-bf16"),
    ],
)
def test_the_record_tells_kinds_of_machine_apart(text, kind):
    assert parse_cpuinfo(text).kind == kind


def test_the_record_names_the_machine_and_what_it_computes_in(fake):
    fake(ZEN3)
    record = describe("cpu")
    assert record["cpu"] == "AMD Ryzen 5 5600" and record["instructions"] == "avx2" and record["precision"] == "fp32"
    assert describe("cpu", torch.float16)["precision"] == "fp16"
    fake(ZEN5)
    assert describe("cpu") != record


def test_without_cpuinfo_torch_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    said = {"avx512_f": True, "avx512_bf16": True, "avx2": False, "cpu_name": "a chip", "l2_cache_size": 1}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: said, raising=False)
    assert processor.cpu.__wrapped__() == Cpu(model="a chip", flags=frozenset({"avx512f", "avx512_bf16"}))


@pytest.mark.parametrize(("text", "value"), [("150000 100000\n", 1.5), ("max 100000\n", math.inf), ("", math.inf)])
def test_a_containers_quota_is_read(tmp_path, text, value):
    (tmp_path / "cpu.max").write_text(text)
    assert quota(tmp_path) == value


def test_threads_stay_within_the_quota_and_above_zero(monkeypatch):
    assert threads() >= 1
    monkeypatch.setattr(processor, "quota", lambda: 0.5)
    assert threads() == 1
