"""A large table stays as its file has it, and nobody sees another number."""

import pytest
import torch

from danqing.adapt.embedding import LearnedWord, TaughtWords
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.run.looked import LARGE, Looked, looking
from danqing.weights.load import load, save

CONFIG = CLIPTextConfig(
    vocab_size=LARGE // 32, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
)
IDS = torch.tensor([[5, 700, LARGE // 32 - 1]])


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16, torch.float32, torch.float64])
def file(request, tmp_path_factory):
    torch.manual_seed(0)
    return save(CLIPText(CONFIG).to(request.param), tmp_path_factory.mktemp("tables") / "text.safetensors")


def loaded(file, dtype=torch.float32):
    return load(file, dtype=dtype, before=lambda net: looking(net, dtype))


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
