"""GGUF: the numbers of every kind of block are those of the reference, bit for bit; shapes and metadata are as
written."""

import warnings

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from danqing.weights.formats import blocks
from danqing.weights.formats.ggml import KINDS, OTHERS
from danqing.weights.store import each, header, read

QUANTISED = {number: kind for number, kind in KINDS.items() if kind.numbers > 1}


def write(path, tensors, **pairs):
    """A file by the reference's writer; a tensor is an array, or (bytes, type)."""
    writer = GGUFWriter(str(path), "sd1")
    for name, value in pairs.items():
        add = {
            str: writer.add_string,
            list: writer.add_array,
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
        }
        add[type(value)](name.replace("__", "."), value)
    for name, value in tensors.items():
        array, kind = value if isinstance(value, tuple) else (value, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def packed(number: int, rows: int, blocks: int) -> np.ndarray:
    """Blocks of any bytes: among them are all scales, also infinite ones and none."""
    return np.random.default_rng(number).integers(0, 256, (rows, blocks * QUANTISED[number].size), dtype=np.uint8)


def reference(array: np.ndarray, number: int) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        return quants.dequantize(array, GGMLQuantizationType(number))


@pytest.mark.parametrize("number", QUANTISED)
def test_any_block_is_read_as_the_reference_reads_it(tmp_path, number):
    array = packed(number, 6, 40)
    path = write(tmp_path / "a.gguf", {"w": (array, GGMLQuantizationType(number))})
    wanted = reference(array, number)
    back = read(path)["w"]
    assert back.dtype == torch.float32 and tuple(back.shape) == wanted.shape == header(path).shapes["w"]
    np.testing.assert_array_equal(back.numpy(), wanted)
    assert header(path).tensors["w"].dtype == "F32" and header(path).metadata["gguf.types"] == f"{KINDS[number].name} 1"


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_what_the_reference_quantises_is_near_to_what_was_given(tmp_path, kind):
    given = np.random.default_rng(0).standard_normal((8, 64), dtype=np.float32)
    number = GGMLQuantizationType[kind]
    back = read(write(tmp_path / "a.gguf", {"w": (quants.quantize(given, number), number)}))["w"].numpy()
    steps = 2 ** int(kind[1]) - 1
    assert np.abs(back - given).max() <= 1.1 * 2 * np.abs(given).max() / steps


def test_blocks_made_part_by_part_are_those_made_at_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.gguf", {"w": (packed(12, 5, 7), GGMLQuantizationType.Q4_K)})
    whole = read(path)["w"]
    monkeypatch.setattr(blocks, "AT_ONCE", 256 * 3)
    np.testing.assert_array_equal(read(path)["w"].numpy(), whole.numpy())


def test_one_tensor_at_a_time_is_made(tmp_path, monkeypatch):
    made, numbers = [], blocks.numbers
    monkeypatch.setattr(blocks, "numbers", lambda *given: made.append(given) or numbers(*given))
    path = write(tmp_path / "a.gguf", {name: (packed(8, 2, 3), GGMLQuantizationType.Q8_0) for name in "abc"})
    for count, _ in enumerate(each(path), 1):
        assert len(made) == count
    assert len(made) == 3


def test_plain_numbers_are_read_as_they_are(tmp_path):
    random = np.random.default_rng(0)
    names = ("float64", "float32", "float16", "int8", "int16", "int32")
    given = {name: (random.standard_normal((2, 3, 5)) * 9).astype(name) for name in names}
    back = read(write(tmp_path / "a.gguf", given))
    assert all(torch.equal(back[name], torch.from_numpy(array)) for name, array in given.items())
    half = torch.randn(4, 6).to(torch.bfloat16)
    raw = (half.view(torch.uint8).numpy(), GGMLQuantizationType.BF16)
    assert torch.equal(read(write(tmp_path / "b.gguf", {"w": raw}))["w"], half)


def test_a_shape_that_the_format_would_not_hold_is_restored(tmp_path):
    array = packed(8, 4, 3)
    name = "comfy.gguf.orig_shape.w"
    path = write(tmp_path / "a.gguf", {"w": (array, GGMLQuantizationType.Q8_0)}, **{name: [2, 2, 1, 3, 32]})
    assert header(path).shapes["w"] == tuple(read(path)["w"].shape) == (2, 2, 1, 3, 32)
    np.testing.assert_array_equal(read(path)["w"].numpy().reshape(4, 96), reference(array, 8))
    assert name not in header(path).metadata


def test_metadata_is_told_as_strings_and_long_lists_by_their_length(tmp_path):
    said = {"a__text": "狐", "a__flag": True, "a__number": 7, "a__real": 0.5, "a__short": [1, 2]}
    long = {"a__long": list(range(99)), "a__words": ["x"] * 99}
    told = header(write(tmp_path / "a.gguf", {"w": np.ones(3, np.float32)}, **said, **long)).metadata
    wanted = {"a.text": "狐", "a.flag": "True", "a.number": "7", "a.real": "0.5", "a.short": "(1, 2)"}
    wanted |= {"a.long": "99 values", "a.words": "99 values"}
    assert told == {"general.architecture": "sd1", "gguf.types": "F32 1", **wanted}


def test_the_types_are_counted(tmp_path):
    q4, q6 = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K
    given = {f"w{i}": (packed(12, 1, 1), q4) for i in range(3)} | {"v": (packed(14, 1, 1), q6)}
    head = header(write(tmp_path / "a.gguf", given | {f"b{i}": np.ones(3, np.float32) for i in range(2)}))
    assert head.metadata["gguf.types"] == "Q4_K 3, F32 2, Q6_K 1" and head.dtypes == {"F32": 4 * 256 + 6}


def test_changing_what_was_read_leaves_the_file_alone(tmp_path):
    path = write(tmp_path / "a.gguf", {"w": np.ones(3, np.float32)})
    before = path.read_bytes()
    read(path)["w"].zero_()
    assert path.read_bytes() == before


def test_the_sizes_of_blocks_and_the_names_of_types_are_the_references():
    for number, (size, bytes_) in gguf.GGML_QUANT_SIZES.items():
        if int(number) in KINDS:
            assert KINDS[number][:3] == (number.name, size, bytes_)
        else:
            assert OTHERS.get(number, number.name) == number.name
    assert set(blocks.KINDS) == {kind.name for kind in QUANTISED.values()}
