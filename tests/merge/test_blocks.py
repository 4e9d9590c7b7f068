"""Laws of block weights: each tensor has the weight of its block, computed here anew from its name."""

import re

import pytest
import torch

from danqing.errors import InvalidInput, UnknownName
from danqing.merge.blocks import BASE, PRESETS, Blocks, Weights
from danqing.merge.merge import merge
from danqing.weights import store

UNET = "model.diffusion_model."
#: Blocks of a UNet: input blocks, output blocks.
SD1 = [f"{UNET}input_blocks.{i}.0.weight" for i in range(12)] + [f"{UNET}output_blocks.{i}.0.weight" for i in range(12)]
SDXL = [name for name in SD1 if int(name.split(".")[3]) < 9]
REST = [f"{UNET}middle_block.1.weight", f"{UNET}time_embed.0.weight", f"{UNET}out.2.weight", "first_stage_model.x"]


def blocks(names):
    return Blocks.among([*names, *REST])


def number(name, ins, outs):
    """The place of a tensor in a list of weights, as sd-webui-supermerger counts."""
    if found := re.search(r"\.input_blocks\.(\d+)\.", name):
        return 1 + int(found[1])
    if "middle_block" in name:
        return 1 + ins
    if found := re.search(r"\.output_blocks\.(\d+)\.", name):
        return 2 + ins + int(found[1])
    return 1 + ins + outs if ".out." in name else 0


def test_the_published_models_have_26_and_20_blocks():
    assert len(blocks(SD1).names) == 26 and len(blocks(SDXL).names) == 20
    assert blocks(SD1).names[:2] == (BASE, "IN00") and blocks(SD1).names[12:15] == ("IN11", "M00", "OUT00")


@pytest.mark.parametrize("names", [SD1, SDXL], ids=["SD1", "SDXL"])
def test_a_list_gives_each_tensor_the_weight_of_its_block(names):
    found, half = blocks(names), len(names) // 2
    listed = [i / 100 for i in range(len(found.names))]
    weights = Weights.read(",".join(map(str, listed)), found)
    for name in [*names, *REST[:3]]:
        assert weights(name) == listed[number(name, half, half)]
    assert weights("first_stage_model.x") == listed[0]
    assert Weights.read(",".join(map(str, [*listed, 0.9])), found)("first_stage_model.x") == 0.9


def test_a_list_for_a_transformer_counts_its_blocks():
    found = Blocks.among([f"{UNET}joint_blocks.{i}.x_block.attn.qkv.weight" for i in range(24)])
    assert found.names == (BASE, *(f"J{i:02}" for i in range(24)))


def test_names_and_ranges_go_before_what_stands_for_all():
    weights = Weights.read("0.5,VAE=0,IN02-in04=0.2,OUT11=1", blocks(SD1))
    for name in SD1:
        place = weights.blocks.of(name)
        assert weights(name) == {"IN02": 0.2, "IN03": 0.2, "IN04": 0.2, "OUT11": 1}.get(place, 0.5)
    assert weights("first_stage_model.x") == 0
    assert Weights.read("M00=0.3", blocks(SD1)).of == {**dict.fromkeys((*blocks(SD1).names, "VAE"), 0.0), "M00": 0.3}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("names", [SD1, SDXL], ids=["SD1", "SDXL"])
def test_presets_go_from_0_to_1_and_leave_the_base(preset, names):
    found = list(Weights.read(preset.replace("-", "_").upper(), blocks(names)).of.values())
    assert found[0] == found[-1] == 0 and (min(found[1:-1]), max(found)) == (0, 1)


def test_gradients_are_published_ones():
    v = list(Weights.read("grad-v", blocks(SD1)).of.values())[1:-1]
    assert v == pytest.approx([1 - i / 12 for i in range(12)] + [i / 12 for i in range(13)])
    cosine = list(Weights.read("cosine", blocks(SD1)).of.values())
    assert cosine[2] == pytest.approx(0.995722430686905)
    assert list(Weights.read("smoothstep", blocks(SD1)).of.values())[2] == pytest.approx(0.00506365740740741)
    assert [i for i, w in enumerate(Weights.read("wrap08", blocks(SD1)).of.values()) if w] == [
        1,
        2,
        3,
        4,
        22,
        23,
        24,
        25,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "26 blocks"),
        ("", "number"),
        ("nan", "preset"),
        ("11", "-10 to 10"),
        ("0.5,IN02=", "number"),
        ("1e9", "-10"),
    ],
)
def test_other_weights_are_refused(text, said):
    with pytest.raises(InvalidInput, match=said):
        Weights.read(text, blocks(SD1))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="grad-v"):
        Weights.read("grad-w", blocks(SD1))
    with pytest.raises(UnknownName, match="IN11"):
        Weights.read("IN12=1", blocks(SD1))
    with pytest.raises(InvalidInput, match="no blocks"):
        Weights.read("grad-v", Blocks())


def test_a_merge_gives_each_tensor_the_weight_of_its_block(checkpoint, tmp_path):
    given = [checkpoint(1), checkpoint(2)]
    a, b = map(store.read, given)
    ins, outs = ({int(n.split(".")[3]) for n in a if n.startswith(UNET + kind)} for kind in ("input", "output"))
    listed = torch.linspace(0.05, 0.95, 2 + len(ins) + len(outs)).tolist()
    made = merge(given, tmp_path / "o.safetensors", weights=[",".join(map(str, listed))])
    for name, tensor in store.read(made.path).items():
        weight = listed[number(name, len(ins), len(outs))]
        torch.testing.assert_close(tensor, (1 - weight) * a[name] + weight * b[name])
