"""Files of torch.save: what was saved is read bit for bit, under the names that it is known by, and without running
anything."""

import argparse
import collections
import io
import zipfile

import pytest
import torch
from torch import nn

from danqing.errors import InvalidFile
from danqing.weights.formats.inert import DTYPES
from danqing.weights.store import header, read

FORMS = [(new, protocol) for new in (True, False) for protocol in (2, 3, 4, 5)]
BASE = torch.arange(24.0).reshape(4, 6)
WEIGHTS = {"a.weight": BASE, "a.bias": BASE[0] + 1}


def drawn(dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(3, 5, generator=generator) * 7).to(dtype)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    bits = [t.detach().contiguous().reshape(-1) for t in (a, b)]
    return (a.dtype, a.shape) == (b.dtype, b.shape) and (
        not a.numel() or torch.equal(*(t.view(torch.uint8) for t in bits))
    )


@pytest.fixture(params=FORMS, ids=lambda form: f"{'zip' if form[0] else 'old'}-{form[1]}")
def saved(tmp_path, request):
    """Save in one of the forms."""
    new, protocol = request.param

    def save(what):
        torch.save(what, tmp_path / "a.ckpt", _use_new_zipfile_serialization=new, pickle_protocol=protocol)
        return tmp_path / "a.ckpt"

    return save


def test_every_type_is_read_as_it_was_saved(saved):
    given = {name: drawn(getattr(torch, name)) for name in DTYPES}
    path = saved(given)
    assert list(read(path)) == list(given) == list(header(path).tensors)
    assert all(same(read(path)[name], tensor) for name, tensor in given.items())
    assert all(header(path).tensors[name].dtype == DTYPES[name] for name in given)


def test_views_keep_their_strides_and_share_their_storage(saved):
    given = {
        **{"base": BASE, "turned": BASE.T, "part": BASE[1:, ::2], "row": BASE[2], "wide": BASE[:, :1].expand(4, 9)},
        **{
            "scalar": torch.tensor(2.0),
            "none": torch.zeros(0, 3),
            "end": BASE[4:],
            "parameter": nn.Parameter(BASE * 2),
        },
    }
    path = saved(given)
    back = read(path)
    assert all(same(back[name], tensor) and back[name].stride() == tensor.stride() for name, tensor in given.items())
    assert len({back[name].untyped_storage().data_ptr() for name in ("base", "turned", "part", "row", "wide")}) == 1
    assert header(path).shapes == {name: tuple(tensor.shape) for name, tensor in given.items()}


def test_the_header_says_where_the_bytes_are(saved):
    path = saved({"a": BASE, "b": BASE[2:, :3]})
    head, whole = header(path), path.read_bytes()
    for name, first, last in (("a", 0.0, 23.0), ("b", 12.0, 20.0)):
        numbers = torch.frombuffer(
            bytearray(whole[head.tensors[name].start : head.tensors[name].stop]), dtype=torch.float32
        )
        assert (numbers[0], numbers[-1]) == (first, last)
    assert head.size == len(whole)


def test_changing_what_was_read_leaves_the_file_alone(saved):
    path = saved(WEIGHTS)
    before = path.read_bytes()
    for tensor in read(path).values():
        tensor.zero_()
    assert path.read_bytes() == before and same(read(path)["a.weight"], BASE)


def test_an_ordered_dictionary_and_its_attributes_are_a_dictionary(saved):
    state = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).state_dict()
    assert isinstance(state, collections.OrderedDict) and hasattr(state, "_metadata")
    back = read(saved(state))
    assert list(back) == list(state) and all(same(back[name], tensor) for name, tensor in state.items())


def test_a_whole_network_is_read_as_its_state(saved):
    made = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4)), "b": nn.ParameterList([BASE])}
    )
    made.register_buffer("kept", torch.ones(2))
    made.register_buffer("passing", torch.ones(2), persistent=False)
    back = read(saved(made))
    assert back.keys() == made.state_dict().keys() and all(same(back[k], v) for k, v in made.state_dict().items())


class Extended(torch.Tensor):
    """A tensor of a class of its own."""


def test_a_tensor_with_attributes_or_a_class_of_its_own_is_the_bare_tensor(saved):
    parameter = nn.Parameter(BASE)
    parameter.origin = "here"  # type: ignore[attr-defined]
    back = read(saved({"a": parameter, "b": BASE.as_subclass(Extended)}))
    assert {type(tensor) for tensor in back.values()} == {torch.Tensor} and all(
        same(tensor, BASE) for tensor in back.values()
    )


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (WEIGHTS, ["a.weight", "a.bias"]),
        ({"state_dict": WEIGHTS, "epoch": 3}, ["a.weight", "a.bias"]),
        ({"params": {"b": BASE}, "params_ema": WEIGHTS}, ["a.weight", "a.bias"]),
        ({"model": {"state_dict": WEIGHTS}}, ["a.weight", "a.bias"]),
        ({"model": WEIGHTS, "optimizer": {"state": {0: {"exp_avg": BASE}}}}, ["a.weight", "a.bias"]),
        ({"model": {"w": BASE}, "ema": {"w": BASE}}, ["model.w", "ema.w"]),
        ({"image_proj": {"proj.weight": BASE}, "ip_adapter": {"1.to_k_ip.weight": BASE}}, None),
        ({"string_to_token": {"*": 265}, "string_to_param": {"*": BASE}, "name": "cat"}, ["string_to_param.*"]),
        (
            {
                "string_to_token": {"*": torch.tensor(265)},
                "string_to_param": nn.ParameterDict({"*": nn.Parameter(BASE)}),
            },
            None,
        ),
        ({"state_dict": {}, "w": BASE}, ["w"]),
        ({"layers": [{"w": BASE}, {"w": BASE}], 7: (BASE,)}, ["layers.0.w", "layers.1.w", "7.0"]),
        ([BASE, BASE], ["0", "1"]),
        (BASE, ["tensor"]),
    ],
)
def test_wrappers_are_taken_off_and_other_groups_joined_by_dots(tmp_path, what, names):
    torch.save(what, tmp_path / "a.pt")
    joined = [f"{group}.{name}" for group in what for name in what[group]] if names is None else names
    assert list(read(tmp_path / "a.pt")) == joined


def test_what_was_said_around_the_weights_and_what_is_left_out_is_told(tmp_path):
    optimiser = {"state": {0: {"exp_avg": BASE}}}
    what = {
        "state_dict": {"w": BASE},
        "epoch": 3,
        "loss": 0.5,
        "name": "fox",
        "optimizer_states": [optimiser],
        "ema": {"w": BASE},
    }
    torch.save(what, tmp_path / "a.ckpt")
    told = {"epoch": "3", "loss": "0.5", "name": "fox", "pickle.beside": "optimizer_states, ema"}
    assert header(tmp_path / "a.ckpt").metadata == told


class Callback:
    """What a training library leaves in a file."""

    def __init__(self):
        self.best, self.history = torch.tensor(0.5), [torch.ones(2)]


def test_objects_of_other_programs_are_dropped(saved):
    made = {Callback: Callback(), ("a", 1): 2, None: {1, 2}, 2.5: b"bytes"}
    what = {
        "state_dict": {"w": BASE, "odd": Callback()},
        "callbacks": made,
        "args": argparse.Namespace(rate=0.1, names={"a"}),
    }
    path = saved(
        what | {"device": torch.device("cpu"), "dtype": torch.float16, "size": BASE.shape, "long": 2**700, "of": len}
    )
    assert list(read(path)) == ["w"] and same(read(path)["w"], BASE)


def test_two_tensors_of_one_name_are_refused(tmp_path):
    torch.save({"a": {"b": BASE}, "a.b": BASE}, tmp_path / "a.pt")
    with pytest.raises(InvalidFile, match=r"two tensors would be named 'a\.b'"):
        header(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"w": BASE.to_sparse()}, "made by _rebuild_sparse_tensor"),
        ({"w": torch.zeros(2, device="meta")}, "made by _rebuild_meta_tensor"),
        ({"w": torch.zeros(2, dtype=torch.complex64).conj()}, "resolve_conj"),
        ({"lr": 0.1, "names": ["a"]}, "no tensor that has a name"),
        (Callback(), "no tensor that has a name.*safetensors"),
        ({("a", "b"): BASE}, "no tensor that has a name"),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_tensors_of_other_kinds_and_files_without_any_are_refused_with_the_reason(tmp_path, what, said, new):
    torch.save(what, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(InvalidFile, match=said):
        header(tmp_path / "a.pt")


def test_a_storage_larger_than_32_bits_count_is_found_by_its_64_bit_fields(tmp_path, monkeypatch):
    torch.save(WEIGHTS, tmp_path / "a.pt")
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 64)  # as if it were: every size and offset goes into the 64-bit fields
    buffer = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert b"\xff\xff\xff\xff" in buffer.getvalue()
    (tmp_path / "b.pt").write_bytes(buffer.getvalue())
    assert all(same(read(tmp_path / "b.pt")[name], tensor) for name, tensor in WEIGHTS.items())


def test_an_unaligned_storage_is_copied_not_read_in_place(tmp_path):
    for shift in range(8):
        given = {"x" * shift: 0, "w": torch.arange(4).to(torch.complex128)}
        torch.save(given, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
        back = read(tmp_path / "a.pt")["w"]
        assert back.data_ptr() % 8 == 0 and torch.equal(back.abs(), torch.arange(4.0, dtype=torch.float64))
