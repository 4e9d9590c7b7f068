"""A file that differs from its network by one name or one number of a shape is refused, and the message says how to go
on."""

import dataclasses
import json
import pickle

import pytest
import torch

from danqing.errors import InvalidFile, UnknownName
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.weights.family import CONFIG_KEY, FAMILY_KEY
from danqing.weights.load import load, save
from danqing.weights.store import header, write

TINY = UNetConfig(
    block_out_channels=(16, 32),
    layers_per_block=1,
    transformer_layers=(0, 1),
    attention_heads=(2, 4),
    cross_attention_dim=24,
    norm_num_groups=8,
)
KEY = "mid_block.resnets.1.conv2.weight"


@pytest.fixture
def made():
    return UNet(TINY)


@pytest.fixture
def path(tmp_path, made):
    return save(made, tmp_path / "a.safetensors")


def rewrite(path, change):
    """The same file with its tensors changed by ``change(state)``."""
    head = header(path)
    state = dict(UNet(TINY).state_dict())
    change(state)
    return write(path, state, head.metadata)


def test_a_missing_tensor_is_named(path):
    rewrite(path, lambda state: state.pop(KEY))
    with pytest.raises(InvalidFile, match=f"missing: {KEY}"):
        load(path)


def test_an_unexpected_tensor_is_named(path):
    rewrite(path, lambda state: state.update({"mid_block.extra.weight": torch.zeros(1)}))
    with pytest.raises(InvalidFile, match=r"unexpected: mid_block\.extra\.weight"):
        load(path)


def test_a_misspelt_tensor_is_named_with_the_nearest(path):
    rewrite(path, lambda state: state.update({KEY.replace("conv2", "conv_2"): state.pop(KEY)}))
    with pytest.raises(InvalidFile) as caught:
        load(path)
    text = str(caught.value)
    assert f"missing: {KEY} (nearest: {KEY.replace('conv2', 'conv_2')})" in text
    assert f"unexpected: {KEY.replace('conv2', 'conv_2')} (nearest: {KEY})" in text
    assert str(path) in text and "Nothing was loaded" in text


def test_a_tensor_of_another_shape_is_named_with_both(path):
    rewrite(path, lambda state: state.update({KEY: torch.zeros(32, 32, 1, 1)}))
    with pytest.raises(InvalidFile, match=r"conv2\.weight \(is \[32, 32, 1, 1\], should be \[32, 32, 3, 3\]\)"):
        load(path)


def test_a_convolution_passes_for_a_linear_layer_only_where_it_is_one(path, made):
    key = "time_embedding.linear_2.weight"
    rewrite(path, lambda state: state.update({key: made.state_dict()[key][:, :, None, None]}))
    assert torch.equal(load(path).state_dict()[key], made.state_dict()[key])
    rewrite(path, lambda state: state.update({key: torch.zeros(64, 16, 2, 2)}))
    with pytest.raises(InvalidFile, match="of another shape"):
        load(path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_quantised_weights_are_refused_by_name_and_type(path, made, dtype):
    rewrite(path, lambda state: state.update({KEY: made.state_dict()[KEY].to(dtype)}))
    with pytest.raises(
        InvalidFile, match=r"of no floating-point type: mid_block\.resnets\.1\.conv2\.weight \(is [IUBC]"
    ):
        load(path, dtype=torch.float32)


def test_many_differences_are_counted_not_all_listed(path):
    def rename(state):
        for name in [name for name in state if name.startswith("up_blocks.")]:
            state["odd." + name] = state.pop(name)

    rewrite(path, rename)
    with pytest.raises(InvalidFile, match=r"missing: \d+ more") as caught:
        load(path)
    assert str(caught.value).count("\n") < 20


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"in_channels": 5}, "in_channels is said to be 5, but the tensors' shapes say 4"),
        ({"layers_per_block": 10**9}, "the tensors' shapes say 1"),
        ({"attention_head": [2, 4]}, "Did you mean 'attention_heads'"),
        ({"attention_heads": "8"}, "attention_heads should be like"),
        ({"attention_heads": [2, 4.5]}, "attention_heads should be like"),
        ({"attention_heads": [2]}, "attention_heads"),
        ({"attention_heads": [-2, -4]}, "attention_heads should be like"),
        ({"norm_num_groups": -8}, "norm_num_groups should be like 32"),
        ({"norm_num_groups": 7}, "none can be built"),
        ({"norm_num_groups": 0}, "none can be built"),
        ({"norm_num_groups": True}, "norm_num_groups should be like 32"),
        ({"norm_num_groups": None}, "norm_num_groups should be like 32"),
        ([1], "no config"),
    ],
)
def test_metadata_that_cannot_be_right_is_refused(path, said, message):
    if isinstance(said, dict):
        said = {**{"attention_heads": [2, 4], "norm_num_groups": 8}, **said}
    write(path, UNet(TINY).state_dict(), {CONFIG_KEY: json.dumps(said)})
    with pytest.raises(InvalidFile, match=message):
        load(path)


def test_metadata_that_is_no_json_is_refused(path):
    write(path, UNet(TINY).state_dict(), {CONFIG_KEY: "{'a': 1}"})
    with pytest.raises(InvalidFile, match="no JSON"):
        load(path)


def test_a_config_given_by_argument_goes_before_the_metadata_but_not_before_the_shapes(path):
    assert load(path, config={"norm_num_groups": 4}).config == dataclasses.replace(TINY, norm_num_groups=4)
    with pytest.raises(InvalidFile, match="out_channels is said to be 3"):
        load(path, config={"out_channels": 3})


def test_what_no_one_states_must_be_stated(tmp_path):
    path = write(tmp_path / "a.safetensors", UNet(TINY).state_dict())
    with pytest.raises(InvalidFile, match=r"cannot be told from the shapes.*config="):
        load(path)


def test_an_infinite_scale_is_refused(tmp_path):
    config = CLIPTextConfig(
        vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    path = save(CLIPText(config), tmp_path / "a.safetensors")
    for odd in (float("inf"), float("nan"), "1e-5"):
        with pytest.raises(InvalidFile, match="layer_norm_eps should be like"):
            load(path, config={"layer_norm_eps": odd})


def test_a_family_that_is_unknown_or_not_there_is_named(path):
    with pytest.raises(UnknownName, match="Did you mean 'unet'"):
        load(path, family="uent")
    with pytest.raises(InvalidFile, match="holds no clip-text, but unet"):
        load(path, family="clip-text")


def test_a_file_of_several_networks_asks_which(tmp_path):
    clip = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    state = {"cond_stage_model.transformer." + k: v for k, v in CLIPText(clip).state_dict().items()}
    for key in ("encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight"):
        state["first_stage_model." + key] = torch.zeros(1)
    path = write(tmp_path / "a.safetensors", state)
    with pytest.raises(
        InvalidFile, match=r"several networks: name one by its part, of codec \(autoencoder-kl\), text \(clip-text\)"
    ):
        load(path)
    with pytest.raises(InvalidFile, match="a single file"):
        load(path, family="autoencoder-kl")  # the names say so, but too much is missing
    assert load(path, family="clip-text", config=clip).config == clip


def test_a_foreign_file_is_refused_with_what_is_known(tmp_path):
    path = write(tmp_path / "a.safetensors", {"generator.weight": torch.zeros(2)})
    with pytest.raises(InvalidFile, match=r"'generator\.weight'.*Known are unet"):
        load(path)


def test_a_file_of_another_version_of_danqing_is_refused(tmp_path):
    path = write(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {FAMILY_KEY: "mmdit2"})
    with pytest.raises(InvalidFile, match=r"another version of danqing.*Did you mean 'mmdit'"):
        load(path)


def test_damaged_files_and_pickles_are_refused_on_the_way_in(path, tmp_path):
    whole = path.read_bytes()
    for damaged, message in (
        (whole[:-1], "truncated"),
        (whole[:100], "truncated"),
        (whole[:8] + b"[" + whole[9:], "no safetensors"),
        (whole[:20] + b"\xff" + whole[21:], "corrupted header"),
        (b"", "empty"),
        (pickle.dumps({"state_dict": [1.0]}), "no path of danqing executes a pickle"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InvalidFile, match=message):
            load(path)
    with pytest.raises(InvalidFile, match="no file"):
        load(tmp_path / "none.safetensors")


def test_what_is_no_network_of_a_family_is_not_saved(tmp_path):
    class Configured(torch.nn.Linear):
        config = TINY

    for odd in (torch.nn.Linear(2, 2), Configured(2, 2)):
        with pytest.raises(UnknownName, match="unknown network"):
            save(odd, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_says_so(made, tmp_path):
    with pytest.raises(InvalidFile, match="folder does not exist"):
        save(made, tmp_path / "none" / "a.safetensors")
