"""A file whose weights are in few bits holds what quantising at load makes, and is refused where it is not what it
says."""

import json
from functools import partial

import pytest
import torch
from tests.run.quantise.test_quantise import NAMES, UNET, numbers, seen, unet

from danqing.errors import InvalidFile
from danqing.measure.machine.cost import few_of
from danqing.run.quantise.layers import Quantised, keeping
from danqing.run.quantise.quantisers import QUANTISERS
from danqing.store.tensors import Due, Part, in_few, write
from danqing.weights import store
from danqing.weights.bits import KINDS, outlined
from danqing.weights.family import CONFIG_KEY, FAMILY_KEY
from danqing.weights.formats.few import BITS_KEY, QUANTISE_KEY
from danqing.weights.load import load, save

CPU = torch.device("cpu")


def written(folder, name, dtype):
    """A network's plain file, and the one in few bits."""
    net = unet(dtype)
    plain = save(net, folder / "plain.safetensors")
    dues = {
        n: Due(dtype=t.dtype, shape=tuple(t.shape), make=partial(torch.clone, t)) for n, t in net.state_dict().items()
    }
    with torch.device("meta"):
        tensors, said = in_few("denoiser", Part(family="unet", net=type(net)(UNET), tensors=dues), name)
    metadata = store.header(plain).metadata
    said |= {key: metadata[key] for key in (FAMILY_KEY, CONFIG_KEY)}
    return plain, write(folder / "few.safetensors", tensors, said)


def loaded(path, name, dtype):
    def before(net):
        QUANTISERS[name].attach("denoiser", net)
        return keeping(net, dtype, CPU)

    return load(path, dtype=dtype, before=before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("held", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_what_quantising_at_load_makes(tmp_path, name, held, dtype):
    """In every precision, of a file of every precision."""
    plain, few = written(tmp_path, name, held)
    assert few.stat().st_size < plain.stat().st_size
    one, other = loaded(plain, name, dtype), loaded(few, name, dtype)
    assert torch.equal(seen(one.float()), seen(other.float()))
    layers = [[layer for layer in net.modules() if isinstance(layer, Quantised)] for net in (one, other)]
    assert layers[0] and len(layers[0]) == len(layers[1])
    for a, b in zip(*layers, strict=True):
        assert type(a) is type(b) and all(torch.equal(x, b.stored.parts()[n]) for n, x in a.stored.parts().items())


@pytest.mark.parametrize("name", NAMES)
def test_whoever_knows_nothing_of_bits_reads_what_they_stand_for(tmp_path, name):
    plain, few = written(tmp_path, name, torch.float32)
    assert {n: (s.shape, s.dtype) for n, s in store.header(few).tensors.items()} == {
        n: (s.shape, s.dtype) for n, s in store.header(plain).tensors.items()
    }
    net, bits = load(few), loaded(few, name, torch.float32)
    sizes = {f"{n}.weight": layer.stored.size for n, layer in bits.named_modules() if isinstance(layer, Quantised)}
    assert few_of(few) == sizes and few_of(plain) == {}
    assert all(torch.equal(number, bits.state_dict()[n]) for n, number in net.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 5), (65, 33), (64, 40, 3, 3)])
def test_a_weight_without_numbers_has_the_tensors_of_one_with_them(kind, shape):
    empty, full = outlined(KINDS[kind], torch.Size(shape)).parts(), KINDS[kind].of(numbers(*shape)).parts()
    assert {n: (t.shape, t.dtype) for n, t in empty.items()} == {n: (t.shape, t.dtype) for n, t in full.items()}
    assert all(tensor.is_meta for tensor in empty.values())


def one(**changes):
    """A file of one weight, and what its metadata say, with changes."""
    stored = KINDS["rows"].of(numbers(3, 5))
    said = {"version": 1, "weights": {"w": ["rows", "F32", [3, 5]]}, **changes}
    return {f"w.{own}": each for own, each in stored.parts().items()}, {
        BITS_KEY: json.dumps(said),
        QUANTISE_KEY: "int8",
    }


def test_what_is_said_of_a_file_stays_with_it(tmp_path):
    tensors, said = one()
    header = store.header(store.write(tmp_path / "a.safetensors", tensors, said))
    assert header.metadata == {QUANTISE_KEY: "int8"} and header.shapes == {"w": (3, 5)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "version None"),
        ({"weights": {"w": ["columns", "F32", [3, 5]]}}, "kind of bits.*columns"),
        ({"weights": {"w": ["panels", "F32", [3, 5]]}}, "corrupted"),
        ({"weights": {"w": ["rows", "F32", [3, 6]]}}, "corrupted"),
        ({"weights": {"w": ["rows", "F31", [3, 5]]}}, "corrupted"),
        ({"weights": {"w": ["rows", "F32", [-3, -5]]}}, "corrupted"),
        ({"weights": {"w": ["rows", "F32", [3]]}}, "corrupted"),
        ({"weights": {"v": ["rows", "F32", [3, 5]]}}, "corrupted"),
        ({"weights": {"w": ["rows"]}}, "corrupted"),
        ({"weights": {"w": [["rows"], "F32", [3, 5]]}}, "corrupted"),
        ({"weights": []}, "corrupted"),
    ],
)
def test_a_file_of_another_version_or_kind_or_that_contradicts_itself_is_refused(tmp_path, changes, words):
    tensors, said = one(**changes)
    path = store.write(tmp_path / "a.safetensors", tensors, said)
    with pytest.raises(InvalidFile, match=words):
        store.header(path)
