"""Which of a list of words fit a picture best, by a CLIP of the user's own: what A1111 calls interrogating."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InvalidFile
from ..nets.clip import CLIP, IMAGE_MEAN, IMAGE_STD
from ..pictures import paths
from ..pictures.read import over_white
from ..prompt.tokenize import clip_tokenizer, framed
from ..weights.load import load as load_network
from .tell import TOLD, Guess, Told

#: What a folder of transformers holds it in.
FILES = ("model.safetensors", "pytorch_model.bin")
BATCH = 256


class Words:
    """Tells which words fit.

    Args:
        net: in evaluation. words: that may be told, in English.
    """

    def __init__(self, net: CLIP, words: Sequence[str]):
        self.net, self.words = net, words
        self.texts = _texts(net, words)

    @torch.inference_mode()
    def tell(self, image: Image.Image) -> Told:
        """The words that fit a picture best, their certainties those among the list; the caption is of them all."""
        size = self.net.config.vision.image_size
        square = ImageOps.fit(over_white(image), (size, size), Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.array(square, np.float32)).movedim(-1, 0) / 255
        mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGE_MEAN, IMAGE_STD))
        seen = self.net.encode_image(((x - mean) / std)[None])
        parts = self.net.contrastive(self.texts, seen)[:, 0].softmax(0)
        best = parts.topk(min(TOLD, len(parts)))
        found = [
            Guess(str(self.words[i]), "", p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        said = ", ".join(guess.en for guess in found)
        return Told(captions={"en": said, "zh": said}, guesses={"words": found})


@torch.inference_mode()
def _texts(net: CLIP, words: Sequence[str]) -> Tensor:
    """Words, each cut to the window, to unit vectors (N, P)."""
    tokenizer = clip_tokenizer()
    ids = torch.tensor([framed(tokenizer, tokenizer.encode(word)[: tokenizer.window - 2]) for word in words])
    return torch.cat([net.encode_text(part) for part in ids.split(BATCH)])


def load(clip: str | os.PathLike[str], words: str) -> Words:
    """A CLIP of both towers, in a file or in a folder of transformers, and a list of words, one a line.

    Raises:
        InvalidFile: a file is missing, damaged or of another kind; a list without words.
    """
    path = Path(os.path.expanduser(clip))
    file = next((path / name for name in FILES if (path / name).is_file()), path)
    listed = list(dict.fromkeys(paths.lines(words)))
    if not listed:
        raise InvalidFile(f"{words} holds no words: write one on each line")
    net = load_network(file, family="clip", dtype=torch.float32)
    assert isinstance(net, CLIP)
    return Words(net, listed)
