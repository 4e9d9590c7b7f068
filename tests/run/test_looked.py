"""A large table, and a layer that computes once a picture, stay as their file has them, and nobody sees another
number."""

import pytest
import torch
from tests.weights.test_mappings import resident
from torch import nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, LowRank
from danqing.adapt.embedding import LearnedWord, TaughtWords
from danqing.adapt.lora import Worn
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.run.engine.engines import ENGINES
from danqing.run.looked import HEAVY, LARGE, Looked, Seldom, looking
from danqing.run.offload import Offloaded, Room, give_back
from danqing.run.quantise.layers import Quantised, keeping
from danqing.weights.load import load, save

CONFIG = CLIPTextConfig(
    vocab_size=LARGE // 32, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
)
IDS = torch.tensor([[5, 700, LARGE // 32 - 1]])
#: A tower of two layers that are seldom asked.
BROAD = CLIPTextConfig(
    vocab_size=50, hidden_size=256, intermediate_size=HEAVY // 256, num_hidden_layers=1, num_attention_heads=2
)
WORDS = torch.tensor([[5, 7, 49]])


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16, torch.float32, torch.float64])
def file(request, tmp_path_factory):
    torch.manual_seed(0)
    return save(CLIPText(CONFIG).to(request.param), tmp_path_factory.mktemp("tables") / "text.safetensors")


def loaded(file, dtype=torch.float32):
    return load(file, dtype=dtype, before=lambda net: looking("text", net, dtype))


def test_a_table_of_16_bits_stays_so_and_every_number_is_the_same(file):
    net, plain = loaded(file), load(file, dtype=torch.float32)
    table = net.text_model.embeddings.token_embedding
    held = load(file).text_model.embeddings.token_embedding.weight.dtype
    assert type(table) is Looked and table.weight.dtype == (held if held.itemsize == 2 else torch.float32)
    with torch.inference_mode():
        assert torch.equal(net(IDS).tokens, plain(IDS).tokens)
    assert {n: (t.shape, t.dtype) for n, t in net.state_dict().items() if "token_embedding" not in n} == {
        n: (t.shape, t.dtype) for n, t in plain.state_dict().items() if "token_embedding" not in n
    }


def test_learned_words_are_those_that_they_are_beside_a_wide_table(file):
    word = LearnedWord(name="fox", vectors={"text": torch.randn(2, 32, generator=torch.Generator().manual_seed(1))})
    answers = []
    for net in (loaded(file), load(file, dtype=torch.float32)):
        with torch.inference_mode():
            before = net(IDS).tokens
            off = TaughtWords((word,)).attach(net)
            answers.append(net(torch.tensor([[1_000_000, 5, 1_000_001]])).tokens)
            off()
            assert torch.equal(net(IDS).tokens, before)
    assert torch.equal(*answers)


def test_a_network_of_16_bits_and_small_tables_are_left_alone(file):
    net = loaded(file, torch.bfloat16)
    assert not any(type(layer) is Looked for layer in net.modules())
    tables = [layer for layer in loaded(file).modules() if isinstance(layer, torch.nn.Embedding)]
    assert [type(layer) is Looked for layer in tables] == [True, False]


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16, torch.float32, torch.float64])
def broad(request, tmp_path_factory):
    torch.manual_seed(0)
    return save(CLIPText(BROAD).to(request.param), tmp_path_factory.mktemp("towers") / "text.safetensors")


def seldom(file, role="text"):
    def before(net):
        return looking(role, net, torch.float32) | keeping(net, torch.float32, torch.device("cpu"))

    return load(file, dtype=torch.float32, before=before)


def named(net):
    return [name for name, layer in net.named_modules() if isinstance(layer, Seldom)]


def said(net):
    with torch.inference_mode():
        return net(WORDS).tokens


@pytest.mark.parametrize("engine", ["torch", "packed"])
def test_a_layer_that_computes_once_a_picture_stays_in_its_file_and_every_byte_is_the_same(broad, engine):
    net = seldom(broad)
    offs = [ENGINES[engine].attach(net)]
    answers = [said(net) for _ in range(2)]
    assert resident(broad) < broad.stat().st_size // 2048
    plain, own = load(broad, dtype=torch.float32), load(broad)
    offs.append(ENGINES[engine].attach(plain))
    assert all(torch.equal(answer, said(plain)) for answer in answers)
    types = {name: own.get_submodule(name).weight.dtype for name in named(net)}
    assert types and all(net.get_submodule(name).stored.weight.dtype == types[name] for name in types)
    for off in offs:
        off()
    found, wanted = net.state_dict(), plain.state_dict()
    assert [*found] == [*wanted] and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert torch.equal(said(net), said(plain))


def test_a_network_that_computes_at_every_step_has_no_such_layer(broad):
    assert not named(seldom(broad, "denoiser")) and named(seldom(broad, "text_3"))


@pytest.mark.parametrize("way", ["attach", "merge"])
@pytest.mark.parametrize("engine", ["torch", "packed"])
def test_a_lora_on_such_a_layer_does_what_it_does_on_any_and_comes_off(broad, engine, way):
    answers = []
    for net in (seldom(broad), load(broad, dtype=torch.float32)):
        ENGINES[engine].attach(net)
        bare, draw = said(net), torch.Generator().manual_seed(1)
        deltas = {
            name: Delta(
                LowRank(*(torch.randn(size, generator=draw) for size in ((len(at.weight), 2), (2, at.in_features))))
            )
            for name, at in layers(net).items()
            if isinstance(at, nn.Linear)
        }
        off = getattr(Worn(deltas, 0.01), way)(net)
        answers.append(said(net))
        off()
        assert torch.equal(said(net), bare) and not torch.equal(answers[-1], bare)
    assert torch.equal(*answers)


@pytest.mark.parametrize("engine", ["torch", "packed"])
def test_a_network_of_such_layers_is_offloaded_as_any(broad, engine):
    net, plain = seldom(broad), load(broad, dtype=torch.float32)
    Offloaded(net, lambda: seldom(broad).state_dict(), Room())
    for each in (net, plain):
        ENGINES[engine].attach(each)
    assert torch.equal(said(net), said(plain))


def test_what_a_waiting_network_has_read_of_its_file_is_given_back_and_comes_again(broad):
    net = seldom(broad)
    kept = [layer for layer in net.modules() if isinstance(layer, Quantised)]
    before, size = [layer.weight.clone() for layer in kept], sum(layer.stored.size for layer in kept) // 1024
    full = resident(broad)
    give_back(net)
    assert resident(broad) <= max(0, full - 0.9 * size)
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(kept, before, strict=True))
