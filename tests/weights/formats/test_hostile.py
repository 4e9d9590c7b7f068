"""Files made to harm: nothing in them runs, each is refused as an invalid file, in little memory and time.

And no mutation of a sound file of any format ends in anything but tensors or that refusal.
"""

import copyreg
import io
import pickle
import re
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.weights.formats import making
from tests.weights.formats.making import (
    gguf_file,
    gguf_info,
    gguf_pair,
    gguf_text,
    old_file,
    program,
    reference,
    safetensors_file,
    several,
    tensor,
    text,
    whole,
    zip_file,
)

from danqing.errors import InvalidFile
from danqing.weights.formats import pickled, saved
from danqing.weights.store import header, read

NUMBERS = np.arange(6, dtype=np.float32).tobytes()
MODULE = making.__name__.encode()
EXTENSION = 0xF0
#: Bytes and seconds that a refusal may take; Python objects are what a hostile description can multiply.
MEMORY, SECONDS = 2**28, 20


def refused(path, said: str | None, content: bytes) -> None:
    """Reading the file, of which reading its header is the first step, is refused in bounded memory and time."""
    path.write_bytes(content)
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidFile, match=said) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < MEMORY and time.process_time() - began < SECONDS


def forms(description: bytes) -> dict[str, bytes]:
    """A description of a tensor's storage "0" of 6 numbers, in both forms of torch.save."""
    return {
        "zip": zip_file(description, {"0": NUMBERS}),
        "old": old_file(description, [("0", 6, NUMBERS)] * (text("0") in description)),
    }


def refused_in_both_forms(path, description: bytes, said: str | None = None) -> None:
    for content in forms(description).values():
        refused(path, said, content)


def attacks(trace: str) -> dict[str, bytes]:
    """Opcodes that leave a file when Python's pickle runs them."""
    file, code, own = text(trace), text(f"open({trace!r}, 'w').close()"), b"c" + MODULE + b"\n"
    shell = text(f": > '{trace}'")
    return {
        "os.system": b"cos\nsystem\n" + shell + b"\x85R",
        "posix.system": b"cposix\nsystem\n" + shell + b"\x85R",
        "eval": b"cbuiltins\neval\n" + code + b"\x85R",
        "eval of Python 2": b"c__builtin__\neval\n" + code + b"\x85R",
        "exec by name from the stack": text("builtins") + text("exec") + b"\x93" + code + b"\x85R",
        "a method of a name": text("builtins") + text("exec.__call__") + b"\x93" + code + b"\x85R",
        "open": b"cio\nopen\n" + file + text("w") + b"\x86R",
        "inst": b"(" + code + b"ibuiltins\nexec\n",
        "obj": b"(cbuiltins\nexec\n" + code + b"o",
        "a program of several steps": b"cimportlib\nimport_module\n"
        + text("os")
        + b"\x85R0cos\nsystem\n"
        + shell
        + b"\x85R",
        "a call of another name": own + b"touch\n" + file + b"\x85R",
        "a new object": own + b"Made\n" + file + b"\x85\x81",
        "a new object by keywords": own + b"Made\n)}" + text("path") + file + b"s\x92",
        "a state": own + b"Stated\n)\x81" + file + b"b",
        "a state in a class": own + b"Stated\n)\x81q\x000h\x00" + file + b"b",
        "an extension code": b"\x82" + bytes([EXTENSION]) + file + b"\x85R",
        "a partial call": b"cfunctools\npartial\n" + own + b"touch\n" + file + b"\x86R)R",
    }


@pytest.fixture
def extension():
    copyreg.add_extension(making.__name__, "touch", EXTENSION)
    yield
    copyreg.remove_extension(making.__name__, "touch", EXTENSION)


@pytest.mark.parametrize("name", attacks(""))
def test_what_pickle_would_run_is_never_run(tmp_path, extension, name):
    trace = tmp_path / "trace"
    attack = attacks(str(trace))[name]
    pickle.loads((b"\x80\x02" if "Python 2" in name else b"\x80\x04") + attack + b".")
    assert trace.exists()  # a true attack
    trace.unlink()
    refused_in_both_forms(tmp_path / "a.ckpt", b"\x80\x04" + attack + b".")
    refused_in_both_forms(tmp_path / "a.ckpt", program(x=attack))
    refused_in_both_forms(tmp_path / "a.ckpt", program(w=tensor(storage=attack)))
    refused_in_both_forms(
        tmp_path / "a.ckpt", program(w=b"ctorch._utils\n_rebuild_parameter\n" + several(attack, b"\x88", b"}") + b"R")
    )
    refused(tmp_path / "a.bin", "no path of danqing executes a pickle", b"\x80\x04" + attack + b".")
    for content in forms(
        program(x=attack, w=tensor())
    ).values():  # beside a sound tensor: dropped, or refused for what it is
        (tmp_path / "a.ckpt").write_bytes(content)
        try:
            assert list(read(tmp_path / "a.ckpt")) == ["w"]
        except InvalidFile as error:
            assert "an attack, not weights" in str(error) or "torch.save does not write" in str(error)
    assert not trace.exists()


def test_what_is_built_by_hand_here_is_sound_but_for_what_is_changed(tmp_path):
    contents = [*forms(program(w=tensor())).values(), gguf_file(data=NUMBERS)]
    contents.append(safetensors_file({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, NUMBERS))
    for content in contents:
        (tmp_path / "a").write_bytes(content)
        assert torch.equal(read(tmp_path / "a")["w"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (tensor(offset=1), "reaches beyond"),
        (tensor(shape=(3, 3)), "reaches beyond"),
        (tensor(stride=(4, 1)), "reaches beyond"),
        (tensor(shape=(2**59, 2**59), stride=(2**59, 1)), "reaches beyond"),
        (tensor(shape=(0,), stride=(1,), offset=7), "reaches beyond"),
        (tensor(shape=(2**59, 2**59, 0), stride=(0, 0, 0)), "cannot be"),
        (tensor(offset=-1), "no natural number"),
        (tensor(shape=(-2, -3)), "no natural number"),
        (tensor(stride=(-3, 1)), "no natural number"),
        (tensor(offset=2**63), "no natural number"),
        (tensor(stride=(2**1000, 1)), "no natural number"),
        (tensor(shape=(2**40,), stride=(0,)), "of only 6 numbers"),
        (tensor(shape=(2, 2, 2), stride=(1, 1)), "without a shape"),
        (tensor(shape=(1,) * 65, stride=(1,) * 65), "without a shape"),
        (tensor(storage=text("0")), "of a kind that is not read"),
        (tensor(storage=reference(kind=b"ctorch\nQInt8Storage\n")), "of a kind that is not read"),
        (tensor(storage=reference(kind=b"cother\nFloatStorage\n")), "of a kind that is not read"),
        (tensor(storage=reference(count=-6)), "cannot be"),
        (tensor(storage=reference(count=2**70)), "cannot be"),
        (tensor(storage=reference(kind=text("FloatStorage"))), "cannot be"),
        (several(tensor(), reference(count=5)), "described twice"),
        (several(tensor(), reference(kind=b"ctorch\nIntStorage\n")), "described twice"),
        (tensor(storage=text("0") + b"Q"), "no storage"),
        (tensor(storage=b"NQ"), "no storage"),
        (
            tensor(storage=several(text("file"), text("/etc/passwd"), text("0"), text("cpu"), whole(6)) + b"Q"),
            "no storage",
        ),
        (tensor(storage=reference("0", 6, b"ctorch\nFloatStorage\n", text("view"))), "no storage"),
        (tensor(storage=b"P0\n"), "does not write"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "corrupted"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n]R", "without arguments"),
        (b"ctorch._utils\n_rebuild_qtensor\n)R", "made by _rebuild_qtensor"),
    ],
)
def test_a_tensor_lies_in_its_storage(tmp_path, form, said):
    refused_in_both_forms(tmp_path / "a.pt", program(w=form), said)


@pytest.mark.parametrize("key", ["1", "../data.pkl", "/data/0", "", "0/../0", "0\0"])
def test_a_storage_is_where_it_is_said_to_be(tmp_path, key):
    refused_in_both_forms(tmp_path / "a.pt", program(w=tensor(storage=reference(key))), "storage")


def test_a_storage_has_the_size_that_is_said(tmp_path):
    description, path = program(w=tensor()), tmp_path / "a.pt"
    for data in (NUMBERS[:-1], NUMBERS + b"\0", b""):
        refused(path, "bytes instead of 24", zip_file(description, {"0": data}))
    for count in (5, 7, -6, 2**62):
        refused(path, "not where or what", old_file(description, [("0", count, NUMBERS)]))
    refused(path, "truncated", old_file(description, [("0", 6, NUMBERS[:-1])]))
    for keys in ([], ["0", "0"], ["0", "1"], ["1"], [["0"]], {"0": 1}, None):
        refused(path, None, old_file(description, [("0", 6, NUMBERS)] * 2, keys=keys))
    refused(path, "big-endian", old_file(description, [("0", 6, NUMBERS)], little=False))
    refused(path, "big-endian", zip_file(description, {"0": NUMBERS}, byteorder=b"big"))


def doubled(leaf: bytes, one: bytes = b"]", two: bytes = b"", times: int = 60) -> bytes:
    """Opcodes that push [[...], [...]], each half the same, so many times: few bytes of 2^times leaves."""
    code = leaf
    for _ in range(times):
        code += b"q\x010" + (one + b"(h\x01h\x01e" if not two else b"h\x01h\x01" + two)
    return code


@pytest.fixture
def fewer(monkeypatch):
    """A hundredth of the steps and tensors that are allowed, so that what goes beyond them is soon made."""
    for module, name in ((pickled, "MAX_STEPS"), (saved, "MAX_STEPS"), (saved, "MAX_TENSORS")):
        monkeypatch.setattr(module, name, getattr(module, name) // 100)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (b"\x80\x02" + b"N0" * 6_000 + b"N.", "more than 10,485 steps"),
        (b"\x80\x02" + b"}" * 11_000 + b".", "more than 10,485 steps"),
        (b"\x80\x02" + b"(" * 11_000 + b".", "more than 10,485 steps"),
        (b"\x80\x02" + b"]" * 5_000 + b"a" * 4_999 + b".", "deep"),
        (b"\x80\x02N" + b"\x85" * 9_000 + b".", "deep"),
        (b"\x80\x02]q\x00h\x00a.", "deep"),
        (b"\x80\x02}q\x00" + text("w") + b"h\x00s.", "deep"),
        (b"\x80\x02" + doubled(tensor(), times=30) + b".", "refers to itself|more than 655 tensors"),
        (b"\x80\x02" + doubled(b")", times=25) + b".", "refers to itself|no tensor"),
        (b"\x80\x02}" + doubled(b")", two=b"\x86") + b"Ns.", "no tensor"),
        (b"\x80\x02}" + b"".join(whole(k * (2**61 - 1)) + b"Ns" for k in range(2**10)) + b".", "no tensor"),
        (b"\x80\x02" + b"\x8b" + struct.pack("<i", 2**30) + b".", "without measure"),
        (b"\x80\x02\x8b" + struct.pack("<i", -1) + b".", "without measure"),
        (b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b".", "truncated, or too long"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".", "truncated, or too long"),
        (b"\x80\x02T" + struct.pack("<i", -5) + b".", "truncated, or too long"),
        (b"\x80\x05\x97.", "does not write"),
        (b"\x80\x02" + b"h\x07.", "not remembered"),
        (b"\x80\x02" + b".", "not put"),
        (b"\x80\x02(.", "not put"),
        (b"\x80\x02t.", "corrupted"),
        (b"\x80\x02NNs.", "corrupted|no dictionary"),
        (b"\x80\x02X\x01\0\0\0\xff.", "corrupted"),
        (b"\x80\x02c" + b"a" * 2000 + b"\nb\n.", "without an end"),
        (b"\x80\x02NN\x93.", "no text"),
        (program(**{"w" * 2000: tensor()}), "more than 1,024 letters"),
        (
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00" + b"(h\x00N" * 2000 + b")" + b"NtNt" * 2000 + b"R.",
            "corrupted",
        ),
    ],
)
def test_a_description_is_bounded(tmp_path, fewer, description, said):
    refused_in_both_forms(tmp_path / "a.pt", description, said)


def test_a_description_as_long_as_is_allowed_takes_little(tmp_path):
    refused(tmp_path / "a.pt", "more than 1,048,576 steps", zip_file(b"\x80\x02" + b"}" * 2**20 + b".", {}))


def test_items_that_no_name_reaches_cost_nothing(tmp_path):
    """Keys whose hash would take 2^60 steps stand beside a sound tensor."""
    key = doubled(b")", two=b"\x86")
    for content in forms(b"\x80\x02}(" + text("w") + tensor() + key + b"Nu.").values():
        (tmp_path / "a.pt").write_bytes(content)
        assert list(read(tmp_path / "a.pt")) == ["w"]


def patched(content: bytes, name: str, at: int, form: str, value: int) -> bytes:
    """A zip file with one field of an entry's record in the directory changed."""
    record = content.index(b"PK\x01\x02", content.index(name.encode()))
    while content[record + 46 : record + 46 + len(name)] != name.encode():
        record = content.index(b"PK\x01\x02", record + 4)
    changed = bytearray(content)
    struct.pack_into(form, changed, record + at, value)
    return bytes(changed)


def test_nothing_in_a_zip_file_swells(tmp_path):
    description, path = (
        program(w=tensor(shape=(2**22,), stride=(1,), storage=reference(count=2**22))),
        tmp_path / "a.pt",
    )
    content = zip_file(description, {"0": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    assert len(content) < 2**15
    refused(path, "compressed or encrypted", content)
    plain = zip_file(program(w=tensor()), {"0": NUMBERS})
    for name in ("archive/data.pkl", "archive/data/0"):
        refused(path, "compressed or encrypted", patched(plain, name, 10, "<H", 8))
        refused(path, "compressed or encrypted", patched(plain, name, 8, "<H", 1))
    for at, value in ((20, 2**30), (24, 2**30), (20, 23), (24, 25)):
        refused(path, "corrupted", patched(plain, "archive/data/0", at, "<L", value))


def test_entries_of_a_zip_file_do_not_overlap(tmp_path):
    plain = zip_file(program(w=tensor()), {"0": NUMBERS, "1": NUMBERS})
    refused(
        tmp_path / "a.pt",
        "not where",
        patched(plain, "archive/data/1", 42, "<L", plain.index(b"PK\x03\x04archive/data/0"[:4])),
    )
    inner = zip_file(b"", {"1": NUMBERS})
    local = inner[inner.rindex(b"PK\x03\x04") : inner.index(b"PK\x01\x02")]
    assert local.endswith(NUMBERS) and b"archive/data/1" in local
    outer = zip_file(program(w=tensor()), {"0": NUMBERS, "1": NUMBERS, "2": local})
    inside = outer.index(local, outer.index(b"archive/data/2"))
    refused(tmp_path / "a.pt", "overlap", patched(outer, "archive/data/1", 42, "<L", inside))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../data.pkl", "archive/../../x", "..\\x", "\\x", "C:/x", "archive/.."]
)
def test_no_entry_of_a_zip_file_leads_out_of_it(tmp_path, name):
    buffer = io.BytesIO(zip_file(program(w=tensor()), {"0": NUMBERS}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, b"x")
    refused(tmp_path / "a.pt", "leads out", buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_has_one_description_and_it_is_no_zip_file(tmp_path):
    sound, path = zip_file(program(w=tensor()), {"0": NUMBERS}), tmp_path / "a.pt"
    for name, said in (("archive/data.pkl", "two entries"), ("other/data.pkl", "something else than tensors")):
        buffer = io.BytesIO(sound)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(name, program())
        refused(path, said, buffer.getvalue())
    refused(path, "does not write", zip_file(sound, {"0": NUMBERS}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inner/archive.zip", sound)
    refused(path, "something else than tensors .inner/archive.zip", buffer.getvalue())


def test_every_truncation_is_noticed(tmp_path):
    files = forms(program(w=tensor())) | {"gguf": gguf_file(data=NUMBERS)}
    for content in files.values():
        for cut in range(1, len(content), 11):
            refused(tmp_path / "a.pt", None, content[:cut])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gguf_file(counts=(2**63, 0)), "claims"),
        (gguf_file(counts=(1, 2**63)), "claims"),
        (gguf_file(counts=(65_536, 0)), "ends before|corrupted"),
        (gguf_file(counts=(0, 0)), "without a single tensor"),
        (gguf_file(version=1), "version 1"),
        (gguf_file(version=0x03000000), "big-endian"),
        (gguf_file([gguf_info(), gguf_info()], data=bytes(64)), "named|where it cannot"),
        (gguf_file([gguf_info("a"), gguf_info("b")], data=bytes(64)), "where it cannot"),
        (gguf_file([gguf_info("a"), gguf_info("b", offset=32 - 8)], data=bytes(64)), "where it cannot"),
        (gguf_file([gguf_info(offset=1)], data=bytes(64)), "where it cannot"),
        (gguf_file([gguf_info(offset=2**64 - 32)]), "truncated"),
        (gguf_file([gguf_info(dims=(2**63, 2**63))]), "cannot be"),
        (gguf_file([gguf_info(dims=(2**62, 0))]), "cannot be"),
        (gguf_file([gguf_info(dims=(2**59,))]), "truncated"),
        (gguf_file([struct.pack("<Q", 1) + b"w" + struct.pack("<I", 2**32 - 1)]), "dimensions"),
        (gguf_file([gguf_info(dims=(1,) * 5)]), "dimensions"),
        (gguf_file([gguf_info(kind=99)]), "type number 99.*get a file"),
        (gguf_file([gguf_info(kind=16)]), "IQ2_XXS.*Q4_K"),
        (gguf_file([gguf_info(kind=4)]), "number 4"),
        (gguf_file([gguf_info(kind=12)]), "do not make blocks of Q4_K"),
        (gguf_file([gguf_info(kind=8, dims=())]), "do not make blocks"),
        (gguf_file([struct.pack("<Q", 2**60)]), "ends before"),
        (gguf_file([gguf_info(b"\xff\xfe")]), "corrupted"),
        (gguf_file(pairs=[gguf_pair("a", 8, struct.pack("<Q", 2**62))]), "ends before"),
        (gguf_file(pairs=[gguf_pair("a", 9, struct.pack("<IQ", 0, 2**62))]), "ends before"),
        (gguf_file(pairs=[gguf_pair("a", 9, struct.pack("<IQ", 8, 2**62))]), "ends before|corrupted"),
        (gguf_file(pairs=[gguf_pair("a", 9, struct.pack("<IQ", 9, 2**62))]), "a list of the type 9"),
        (gguf_file(pairs=[gguf_pair("a", 13, b"")]), "unknown type 13"),
        (gguf_file(pairs=[gguf_pair("a", 0, b"1")] * 2), "twice"),
        (gguf_file(pairs=[gguf_pair("general.alignment", 4, struct.pack("<I", 0))]), "no power of two"),
        (gguf_file(pairs=[gguf_pair("general.alignment", 4, struct.pack("<I", 24))]), "no power of two"),
        (gguf_file(pairs=[gguf_pair("general.alignment", 4, struct.pack("<I", 2**31))]), "no power of two"),
        (gguf_file(pairs=[gguf_pair("general.alignment", 8, gguf_text("32"))]), "no power of two"),
        (gguf_file(pairs=[gguf_pair("general.alignment", 5, struct.pack("<i", -32))]), "no power of two"),
        (gguf_file(pairs=[gguf_pair("split.count", 2, struct.pack("<H", 3))]), "one of 3 parts"),
        (gguf_file(pairs=[gguf_pair("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, 7, 1))]), "said to be of"),
        (
            gguf_file(pairs=[gguf_pair("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, -2, -3))]),
            "said to be of",
        ),
        (gguf_file(pairs=[gguf_pair("comfy.gguf.orig_shape.w", 8, gguf_text("2x3"))]), "said to be of"),
    ],
)
def test_a_gguf_header_is_bounded_and_agrees_with_itself(tmp_path, content, said):
    refused(tmp_path / "a.gguf", said, content)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"a": {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}}, "cannot be"),
        ({"a": {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}}, "cannot be"),
        ({k: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in "ab"}, "starts at byte"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, "no natural number"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, "do not make"),
        ({"a": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}}, "cannot be|longer|dimensions"),
        (b"{" + b'"a":[' * 200_000, "corrupted"),
        (b'{"a":' + b"9" * 100_000 + b"}", "corrupted"),
    ],
)
def test_a_safetensors_header_is_bounded_and_agrees_with_itself(tmp_path, head, said):
    refused(tmp_path / "a.safetensors", said, safetensors_file(head, bytes(8)))


NO_INDEX = [
    b"{}",
    b"[]",
    b'{"weight_map": []}',
    b'{"weight_map": {}}',
    b'{"weight_map": {"a": {}}}',
    b"\xff",
    b"[" * 10**5,
]


@pytest.mark.parametrize("index", NO_INDEX)
def test_an_index_is_bounded_and_one(tmp_path, index):
    refused(tmp_path / "x.index.json", "corrupted|no index|outside its folder", index)


def sound(folder) -> dict[str, bytes]:
    """A small sound file of each format."""
    (folder / "part.safetensors").write_bytes(
        safetensors_file({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, NUMBERS),
    )
    files = {}
    for name, new in (("a.pt", True), ("b.pt", False)):
        given = {
            "state_dict": {"w": torch.arange(6.0).reshape(2, 3).T, "half": torch.ones(2, dtype=torch.float16)},
            "step": 1,
        }
        torch.save(given, folder / name, _use_new_zipfile_serialization=new)
        files[name] = (folder / name).read_bytes()
    infos = [gguf_info(), gguf_info("q", (32, 1), 8, 32), gguf_info("k", (256,), 12, 96)]
    files["c.gguf"] = gguf_file(
        infos, [gguf_pair("a", 8, gguf_text("b")), gguf_pair("l", 9, struct.pack("<IQ2i", 5, 2, 7, 1))], bytes(240)
    )
    files["d.safetensors"] = (folder / "part.safetensors").read_bytes()
    files["e.index.json"] = b'{"metadata": {"total_size": 24}, "weight_map": {"w": "part.safetensors"}}'
    return files


FILES: dict[str, bytes] = {}
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from("=+-"), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", ["a.pt", "b.pt", "c.gguf", "d.safetensors", "e.index.json"])
@settings(max_examples=150, deadline=None)
@given(edits=EDITS)
def test_any_mutation_ends_in_tensors_or_in_an_invalid_file(tmp_path_factory, name, edits):
    folder = tmp_path_factory.getbasetemp() / "mutations"
    if not folder.exists():
        folder.mkdir()
    if not FILES:
        FILES.update(sound(folder))
    content = bytearray(FILES[name])
    for at, kind, data in edits:
        place = int(at * len(content))
        content[place : place + (0 if kind == "+" else len(data))] = b"" if kind == "-" else data
    path = folder / f"mutated-{name}"
    path.write_bytes(content)
    try:
        shapes = header(path).shapes
        back = read(path)
        assert {key: tuple(tensor.clone().shape) for key, tensor in back.items()} == shapes
    except InvalidFile as error:
        assert re.search(r"mutated|part\.safetensors", str(error))


def test_a_file_makes_no_more_numbers_than_its_size_lets_it(tmp_path):
    one, shared = torch.zeros(1), torch.zeros(256, 1024)
    torch.save({f"a{n}": one.expand(2**24) for n in range(32)}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 4096
    refused(tmp_path / "b.pt", "would make 2,147,483,648 of them", (tmp_path / "a.pt").read_bytes())
    # Weights that two layers share, and a buffer that repeats itself, are no attack.
    torch.save({"a": shared, "b": shared, "c": torch.zeros(1).expand(2**17)}, tmp_path / "c.pt")
    assert {name: tensor.numel() for name, tensor in read(tmp_path / "c.pt").items()} == {
        "a": 2**18,
        "b": 2**18,
        "c": 2**17,
    }


@pytest.mark.parametrize(
    "steps",
    [
        '{"other": [1, 0]}',  # a name that is not in it
        '{"w": [1]}',
        '{"w": ["a", 0]}',
        '{"w": {}}',
        "[1]",
        "no",
        '{"v": [1, 0]}',  # of float32
        "[" * 100_000,
    ],
)
def test_tensors_in_steps_that_cannot_be_are_refused(tmp_path, steps):
    entries = {
        "w": {"dtype": "U8", "shape": [2, 3], "data_offsets": [0, 6]},
        "v": {"dtype": "F32", "shape": [1], "data_offsets": [6, 10]},
    }
    sound = safetensors_file({**entries, "__metadata__": {"danqing.steps": '{"w": [0.5, -1]}'}}, bytes(range(10)))
    (tmp_path / "a").write_bytes(sound)
    assert torch.equal(read(tmp_path / "a")["w"], torch.arange(6.0).reshape(2, 3) / 2 - 1)
    bad = safetensors_file({**entries, "__metadata__": {"danqing.steps": steps}}, bytes(range(10)))
    refused(tmp_path / "b", "corrupted header", bad)
