"""A small vocabulary of T5's kind, trained once a run."""

from pathlib import Path

import pytest
import sentencepiece

TEXTS = [
    "a red fox, 3d style",
    "a fox in the top left corner, a fire engine on the right, 3d render",
    "a t-shirt on a light blue background",
    "one owl to the left of a cat",
    "一只狐狸，3D风格",
    "It's 12:30, won't they?",
    "mountains and rivers in ink (Song dynasty)",
] * 4


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory) -> Path:
    """The folder of a ``spiece.model`` with T5's special pieces: <pad> 0, </s> 1, <unk> 2, and no beginning."""
    folder = tmp_path_factory.mktemp("t5")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / "spiece"),
        model_type="unigram",
        vocab_size=110,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
    )
    return folder
