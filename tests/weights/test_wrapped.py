"""Laws of the names that others leave in files: a word before all of them, a network twice, leftovers of a training."""

from dataclasses import replace

import pytest
import torch
from tests.weights.test_families import AUTOENCODER, TEXT, TINY, network
from tests.weights.writing import ldm_autoencoder, ldm_unet, on_paper, same, written

from danqing.nets import unet
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.nets.clip import CLIPText
from danqing.nets.rrdb import RRDBNet, RRDBNetConfig
from danqing.nets.unet import UNet
from danqing.weights.families.single_file import SINGLE_FILE
from danqing.weights.identify import identify
from danqing.weights.load import compare, load
from danqing.weights.store import write
from danqing.weights.wrapped import bare

DENOISER, CODEC, WORDS = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."


@pytest.mark.parametrize("before", ["", "module.", "generator.", "_orig_mod.", "module._orig_mod."])
def test_an_enlarger_is_known_whatever_held_it_while_it_was_trained(before, tmp_path):
    made = RRDBNet(RRDBNetConfig(blocks=1, channels=8, growth=4))
    for wrapper in ("params", "params_ema"):
        torch.save({wrapper: {before + name: tensor for name, tensor in made.state_dict().items()}}, tmp_path / "x.pth")
        assert identify(tmp_path / "x.pth").family == "rrdb"
        assert same(load(tmp_path / "x.pth").state_dict(), made.state_dict())


def test_names_that_differ_by_more_than_one_word_stay():
    for names in (["module.a", "b"], ["module.a"], ["model.0.weight", "model.1.weight"], ["a", "b"], []):
        assert bare(names) == {name: name for name in names}
    mixed = ["model.model.diffusion_model.a", "model.diffusion_model.a"]
    assert bare(mixed) == {name: name for name in mixed}


def test_a_single_file_is_read_whatever_a_training_or_a_merge_left_in_it(tmp_path):
    painter, codec, text = network(UNet, TINY), network(AutoencoderKL, AUTOENCODER), network(CLIPText, TEXT)
    named = {
        **written(ldm_unet(TINY), painter, DENOISER),
        **written(ldm_autoencoder(AUTOENCODER), codec, CODEC),
        **{WORDS + name: tensor for name, tensor in text.state_dict().items()},
    }
    older = {name: name.replace("text_model.", "") for name in named if "text_model." in name}
    old = {older[name]: torch.zeros_like(named[name]) for name in older}
    left = {CODEC + "model_ema.decay": torch.ones(()), CODEC + "model_ema.num_updates": torch.ones(())}
    for before, more in (("", old | left), ("model.", left)):
        every = {before + name: tensor for name, tensor in (named | more).items()}
        path = write(tmp_path / "a.safetensors", {**every, "ema.decay": torch.ones(())})
        assert same(load(path, family="unet", config=TINY).state_dict(), painter.state_dict())
        assert same(load(path, family="autoencoder-kl").state_dict(), codec.state_dict())
        assert same(load(path, family="clip-text").state_dict(), text.state_dict())


@pytest.mark.parametrize("config", [unet.SD1, unet.SD2, unet.SDXL, unet.SDXL_REFINER])
@pytest.mark.parametrize("linear", [True, False])
def test_heads_are_those_of_the_model_in_whatever_shape_its_projections_are_written(config, linear):
    with torch.device("meta"):
        made = UNet(replace(config, use_linear_projection=linear))
    head, family = on_paper(written(ldm_unet(config), made, DENOISER)), SINGLE_FILE[0]
    found = family.config(head)
    assert found.attention_heads == config.attention_heads
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in family.build(found).state_dict().items()}
    compare(head, family, family.sources(head), wanted)  # refuses any difference


def test_a_text_of_unpublished_width_tells_no_heads():
    with torch.device("meta"):
        made = UNet(replace(unet.SD1, cross_attention_dim=512))
    head = on_paper(written(ldm_unet(unet.SD1), made, DENOISER))
    assert "the text's 512" in SINGLE_FILE[0].settle(head).unknown["attention_heads"]
