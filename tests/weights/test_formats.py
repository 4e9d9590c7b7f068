"""One seam: the same tensors in any format have the same header and are read the same; several files are one."""

import json
import os
import subprocess
import sys

import gguf
import pytest
import torch
from safetensors.torch import save_file

from danqing.errors import InvalidFile
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.weights.identify import identify
from danqing.weights.load import load
from danqing.weights.store import FORMATS, each, header, read

CONFIG = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)


def safetensors(folder, given):
    save_file(given, folder / "a.safetensors")
    return folder / "a.safetensors"


def zip_file(folder, given):
    torch.save({"state_dict": given, "epoch": 1}, folder / "a.ckpt")
    return folder / "a.ckpt"


def old_file(folder, given):
    torch.save(given, folder / "a.bin", _use_new_zipfile_serialization=False)
    return folder / "a.bin"


def gguf_file(folder, given):
    writer = gguf.GGUFWriter(str(folder / "a.gguf"), "sd1")
    for name, tensor in given.items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "a.gguf"


def shards(folder, given, write=safetensors, **changes):
    """Two files and their index."""
    names, places = list(given), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = write(folder, {name: given[name] for name in part})
        file = file.rename(file.with_name(f"model-{i}{file.suffix}"))
        places |= {name: file.name for name in part}
    index = folder / f"model{file.suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": places} | changes))
    return index


def old_shards(folder, given):
    return shards(folder, given, old_file)


WRITERS = [safetensors, zip_file, old_file, gguf_file, shards, old_shards]


@pytest.fixture
def given():
    state = CLIPText(CONFIG).state_dict()
    return {name: tensor.contiguous() for name, tensor in state.items() if tensor.ndim}


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_tensors_are_the_same_in_every_format(tmp_path, given, write):
    path = write(tmp_path, given)
    head = header(path)
    assert head.path == path and head.shapes == {name: tuple(tensor.shape) for name, tensor in given.items()}
    assert head.dtypes == {"F32": sum(tensor.numel() for tensor in given.values())}
    assert sum(spec.stop - spec.start for spec in head.tensors.values()) == 4 * head.parameters < head.size
    assert list(read(path)) == list(head.tensors)
    for back in (read(path), dict(each(path))):
        assert back.keys() == given.keys() and all(torch.equal(back[name], tensor) for name, tensor in given.items())


@pytest.mark.parametrize("write", WRITERS)
def test_some_tensors_are_read_by_name_in_the_order_asked(tmp_path, given, write):
    path = write(tmp_path, given)
    names = sorted(given)[::-3]
    assert list(read(path, names)) == names and list(read(path, iter([names[0], names[0]]))) == names[:1]
    assert read(path, []) == {}
    with pytest.raises(InvalidFile, match="no tensor 'other'"):
        read(path, ["other"])


@pytest.mark.parametrize("write", WRITERS)
def test_a_network_is_known_and_loaded_from_every_format(tmp_path, given, write):
    path = write(tmp_path, given)
    assert identify(path).family == "clip-text" and identify(path).loadable
    state = load(path, config=CONFIG).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in given.items())


def test_every_header_is_read_without_torch(tmp_path, given):
    folders = [tmp_path / write.__name__ for write in WRITERS]
    for folder in folders:
        folder.mkdir()
    paths = [str(write(folder, given)) for write, folder in zip(WRITERS, folders, strict=True)]
    code = (
        "import sys; from danqing.weights.identify import identify; "
        f"assert all(identify(path).family == 'clip-text' for path in {paths!r}); "
        "assert not {'torch', 'numpy', 'gguf', 'pickle'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_format_is_known_by_its_bytes_and_not_by_its_name(tmp_path, given):
    for write, name in (
        (safetensors, "a.gguf"),
        (zip_file, "a.safetensors"),
        (old_file, "a.png"),
        (gguf_file, "b.ckpt"),
    ):
        path = write(tmp_path, given).rename(tmp_path / name)
        assert header(path).parameters == sum(tensor.numel() for tensor in given.values())
    assert len({form.name for form in FORMATS}) == len(FORMATS)


def test_a_format_is_not_mistaken_for_another_by_its_ninth_byte(tmp_path):
    """A GGUF file of 123 tensors has there the brace by which safetensors files are known."""
    path = gguf_file(tmp_path, {f"w{i}": torch.full((2,), float(i)) for i in range(123)})
    assert path.read_bytes()[8:9] == b"{" and read(path)["w7"].tolist() == [7.0, 7.0]


def test_an_index_tells_its_files_metadata_and_size(tmp_path):
    for i in (0, 1):
        save_file({f"w{i}": torch.ones(2)}, tmp_path / f"{i}.safetensors", {"format": "pt", f"from {i}": "a"})
    path = tmp_path / "x.index.json"
    path.write_text(json.dumps({"weight_map": {"w0": "0.safetensors", "w1": "1.safetensors"}}))
    assert header(path).metadata == {"format": "pt", "from 0": "a", "from 1": "a"}
    assert header(path).size == sum((tmp_path / f"{i}.safetensors").stat().st_size for i in (0, 1))


def test_an_index_and_its_files_must_agree_on_every_name(tmp_path):
    given = {f"w{i}": torch.ones(2) for i in range(4)}
    places = json.loads(shards(tmp_path, given).read_text())["weight_map"]
    path = tmp_path / "model.safetensors.index.json"

    def refused(weight_map, said):
        path.write_text(json.dumps({"weight_map": weight_map}))
        for reader in (header, read):
            with pytest.raises(InvalidFile, match=said):
                reader(path)

    refused({name: file for name, file in places.items() if name != "w2"}, "holds 'w2', but .* in none")
    refused(places | {"w2": "model-1.safetensors"}, "holds 'w2', but .* in model-1")
    refused(places | {"w9": "model-1.safetensors"}, "model-1.safetensors has no 'w9', and lacks 1 of")
    save_file({"w1": torch.ones(2), "w3": torch.ones(2), "w0": torch.ones(2)}, tmp_path / "model-1.safetensors")
    refused(places, "model-1.safetensors holds 'w0', but .* in model-0")
    (tmp_path / "model-1.safetensors").unlink()
    refused(places, "needs the file model-1.safetensors, which is missing")
    (tmp_path / "model-1.safetensors").write_text("a text")
    refused(places, "names model-1.safetensors, which is no file of weights")
    (tmp_path / "model-1.safetensors").write_bytes((tmp_path / "model-0.safetensors").read_bytes()[:-1])
    refused(places, "model-1.safetensors is truncated")


OUTSIDE = ["../b.safetensors", "/b.safetensors", "sub/b.safetensors", "..", ".", "", "sub\\b", "C:b", "b\0", 3, None]


@pytest.mark.parametrize("file", OUTSIDE)
def test_an_index_names_files_beside_it_only(tmp_path, file):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a" / "sub"):
        save_file({"w": torch.ones(2)}, folder / "b.safetensors")
    path = tmp_path / "a" / "x.index.json"
    path.write_text(json.dumps({"weight_map": {"w": file}}))
    with pytest.raises(InvalidFile, match=r"outside its folder"):
        header(path)


def test_an_index_names_no_index(tmp_path):
    path = tmp_path / "x.index.json"
    path.write_text(json.dumps({"weight_map": {"w": "x.index.json"}}))
    with pytest.raises(InvalidFile, match="no file of weights"):
        header(path)
