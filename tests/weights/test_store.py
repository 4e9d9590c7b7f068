"""Files: what is written is read back, the same content makes the same bytes, the rest is refused with a reason."""

import errno
import io
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from danqing.errors import InvalidFile
from danqing.weights import store
from danqing.weights.store import at_hand, header, read, sha256, write

NAMES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "uint8", "bool")
DTYPES = [getattr(torch, n) for n in NAMES]


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(3, i + 1, generator=generator) * 3 for i in range(len(DTYPES))]
    return {f"layer.{i}.{dtype}": draws[i].to(dtype) for i, dtype in enumerate(DTYPES)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    kinds = [{name: (t.dtype, t.shape) for name, t in group.items()} for group in (a, b)]
    return kinds[0] == kinds[1] and all(torch.equal(a[k].view(torch.uint8), b[k].view(torch.uint8)) for k in a)


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "a.safetensors", tensors(), {"title": "a fox", "标题": "狐狸"})


def raw(path, head: object, data: bytes = b"") -> str:
    """A file with any header."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_reading_inverts_writing(file):
    assert same(read(file), tensors())
    assert header(file).metadata == {"title": "a fox", "标题": "狐狸"}


def test_the_published_library_reads_what_we_write_and_we_what_it_writes(file, tmp_path):
    assert same(load_file(file), tensors())
    save_file(tensors(1), tmp_path / "b.safetensors", {"a": "b"})
    assert same(read(tmp_path / "b.safetensors"), tensors(1))
    assert header(tmp_path / "b.safetensors").metadata == {"a": "b"}


def test_the_header_tells_names_types_and_shapes(file):
    head, given = header(file), tensors()
    assert head.shapes == {name: tuple(t.shape) for name, t in given.items()}
    assert head.parameters == sum(t.numel() for t in given.values())
    assert {store.TORCH_NAMES[str(t.dtype).removeprefix("torch.")] for t in given.values()} == set(head.dtypes)
    assert head.size == file.stat().st_size


def test_some_tensors_are_read_by_name(file):
    name = "layer.1.torch.float32"
    assert list(read(file, [name])) == [name]
    with pytest.raises(InvalidFile, match="no tensor 'other'"):
        read(file, ["other"])


def test_the_same_content_makes_the_same_bytes(tmp_path):
    given, metadata = tensors(), {chr(97 + i): str(i) for i in range(20)}
    a = write(tmp_path / "a", given, metadata)
    b = write(tmp_path / "b", dict(reversed(given.items())), dict(reversed(metadata.items())))
    assert a.read_bytes() == b.read_bytes() and sha256(a) == sha256(b)
    assert sha256(a) != sha256(write(tmp_path / "b", tensors(1), metadata))


def test_views_scalars_and_empty_tensors_are_written_as_they_read(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    given = {
        "turned": base.T,
        "part": base[1:, ::2],
        "scalar": torch.tensor(2.0),
        "none": torch.zeros(0, 3),
        "base": base,
    }
    back = read(write(tmp_path / "a", given))
    assert all(torch.equal(back[k], v) and back[k].shape == v.shape for k, v in given.items())


def test_changing_what_was_read_leaves_the_file_alone(file):
    before = sha256(file)
    for tensor in read(file).values():
        tensor.zero_()
    assert sha256(file) == before


def test_every_tensor_is_aligned_to_its_width(file):
    length = int.from_bytes(file.read_bytes()[:8], "little")
    assert all((8 + length + s.start) * 8 % store.BITS[s.dtype] == 0 for s in header(file).tensors.values())


def test_the_header_is_read_without_torch(file):
    code = f"import sys, danqing.weights.store as s; s.header({str(file)!r}); assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    before = file.read_bytes()

    def full(tensor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_bytes", full)
    with pytest.raises(InvalidFile, match="disk is full"):
        write(file, tensors(1))
    assert file.read_bytes() == before and os.listdir(file.parent) == [file.name]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    before = file.read_bytes()

    def stop(tensor):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        write(file, tensors(1))
    assert file.read_bytes() == before and os.listdir(file.parent) == [file.name]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InvalidFile, match="folder does not exist"):
        write(tmp_path / "none" / "a.safetensors", tensors())
    with pytest.raises(InvalidFile, match="cannot write"):
        write(tmp_path, tensors())  # a folder stands there
    assert os.listdir(tmp_path) == []


def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    for odd in (torch.zeros(2, dtype=torch.complex128), torch.zeros(2, device="meta"), torch.eye(2).to_sparse()):
        with pytest.raises(InvalidFile, match="'odd'"):
            write(tmp_path / "a", {"odd": odd})
    with pytest.raises(InvalidFile, match="nothing to write"):
        write(tmp_path / "a", {})
    assert os.listdir(tmp_path) == []


def test_missing_folder_and_empty_are_told_apart(tmp_path):
    with pytest.raises(InvalidFile, match="no file"):
        header(tmp_path / "none.safetensors")
    with pytest.raises(InvalidFile, match="is a folder"):
        header(tmp_path)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(InvalidFile, match="is empty"):
        header(tmp_path / "a")
    raw(tmp_path / "a", {"__metadata__": {"a": "b"}})
    with pytest.raises(InvalidFile, match="without a single tensor"):
        header(tmp_path / "a")


class Bomb:
    """Pickled, it would create a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "model.pt", "model.safetensors"])
@pytest.mark.parametrize("kind", ["zip", "legacy", 2, 5])
def test_a_pickle_is_refused_and_never_run(tmp_path, name, kind):
    file, trace = tmp_path / name, tmp_path / "trace"
    if isinstance(kind, int):
        file.write_bytes(pickle.dumps(Bomb(trace), protocol=kind))
    else:
        buffer = io.BytesIO()
        torch.save({"x": Bomb(trace)}, buffer, _use_new_zipfile_serialization=kind == "zip")
        file.write_bytes(buffer.getvalue())
    for reader in (header, read):
        with pytest.raises(InvalidFile, match=r"no path of danqing executes a pickle.*safetensors"):
            reader(file)
    assert not trace.exists()


def test_a_text_pickle_is_known_by_its_name(tmp_path):
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1.0}, protocol=0))
    with pytest.raises(InvalidFile, match="pickle"):
        header(tmp_path / "old.pt")


def test_safetensors_under_a_pickles_name_are_read(tmp_path):
    assert same(read(write(tmp_path / "model.ckpt", tensors())), tensors())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GGUF\x03\0\0\0" + bytes(40), "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<!DOCTYPE html><html>log in</html>", "web page"),
        (b"<HTML>log in</html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "picture"),
        (b"a text that is no weights at all", "first bytes"),
        (b"abc", "first bytes"),
    ],
)
def test_other_files_are_named(tmp_path, data, said):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(InvalidFile, match=said):
        header(tmp_path / "a.safetensors")


def entry(**changes):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


@pytest.mark.parametrize(
    "head",
    [
        b"{not json}",
        b'{"a": \xff}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        {"a": 1},
        {"a": {"dtype": "F32"}},
        {"a": entry(dtype="Q4_K")},
        {"a": entry(dtype=["F32"])},
        {"a": entry(shape=[3])},
        {"a": entry(shape=[-2])},
        {"a": entry(shape=[2.0])},
        {"a": entry(shape=["2"])},
        {"a": entry(shape=2)},
        {"a": entry(shape=[2**62, 2**62])},
        {"a": entry(data_offsets=[8, 0])},
        {"a": entry(data_offsets=[0])},
        {"a": entry(data_offsets=[4, 12])},
        {"a": entry(), "b": entry(data_offsets=[4, 12])},
        {"a": entry(), "__metadata__": {"config": {"nested": 1}}},
        {"a": entry(), "__metadata__": []},
    ],
)
def test_a_header_that_contradicts_itself_is_corrupted(tmp_path, head):
    raw(tmp_path / "a", head, bytes(12))
    with pytest.raises(InvalidFile, match="corrupted header"):
        header(tmp_path / "a")


def test_a_gigantic_header_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "a").write_bytes((2**62).to_bytes(8, "little") + b'{"a":1}')
    with pytest.raises(InvalidFile, match="claims a header"):
        header(tmp_path / "a")


def test_every_truncation_is_noticed(file):
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    for cut in (1, 7, 8, 9, 40, 8 + length - 1, 8 + length, 8 + length + 1, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(InvalidFile, match=r"truncated|first bytes"):
            header(file)
    file.write_bytes(whole + b"x")
    with pytest.raises(InvalidFile, match="longer than its header says"):
        header(file)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), length=st.integers(0, 300))
def test_any_bytes_end_in_a_header_or_in_an_invalid_file(tmp_path_factory, data, length):
    file = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + b"{" + data)
    try:
        head = header(file)
    except InvalidFile as error:
        assert str(file) in str(error)
    else:
        assert head.tensors


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_never_escapes_as_another_error(tmp_path_factory, at, bit):
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "whole").exists():
        write(folder / "whole", {"a": torch.ones(2, 3), "b": torch.ones(4)}, {"c": "d"})
    whole = bytearray((folder / "whole").read_bytes())
    whole[at % (len(whole) - 40)] ^= 1 << bit
    (folder / "flip.safetensors").write_bytes(whole)
    try:
        assert set(read(folder / "flip.safetensors")) == set(header(folder / "flip.safetensors").tensors)
    except InvalidFile as error:
        assert "flip.safetensors" in str(error)


def test_at_hand_a_header_is_read_once_and_afterwards_anew(tmp_path):
    path = write(tmp_path / "a.safetensors", {"a": torch.zeros(3)})
    with at_hand([path, tmp_path / "missing"]):
        first = header(path)
        assert header(path) is first and read(path)["a"].tolist() == [0.0] * 3
    write(path, {"b": torch.ones(2)})
    assert list(header(path).tensors) == ["b"]
