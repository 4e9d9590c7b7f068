"""All text of Stable Diffusion 3: two CLIP towers side by side, then a T5 behind them, any of which may be absent.

::

    tokens = [ CLIP-L | CLIP-bigG | 0 ]      one after the other along the length, each as wide as the T5
             [           T5           ]
    pooled = [ CLIP-L | CLIP-bigG ]

Source: Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", section 4,
appendix B.2 and figure 2; section 5.3.3 for what is absent: each encoder was left out of a part of the training, so
that zeros in its place are something the model knows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..nets.clip import CLIPText, CLIPTextConfig, TextFeatures
from ..nets.t5 import T5
from ..types import Conditioning
from .encode import Encoded
from .grammar import Plan, Tag
from .t5 import ANY_LAYERS, PieceTokenizer, T5Text
from .tokenize import Tokenizer
from .towers import ClipText, Text, Tower

#: Tokens and summary of CLIP ViT-L/14 and of OpenCLIP bigG/14.
WIDTHS = (768, 1280)
#: What a stream of zeros is long, where a whole one is absent: a window of CLIP's.
ABSENT = 77
#: Chunks of CLIP that are heard of one text; over a million tokens, however its phrases fall.
CHUNKS = 32_768
#: OpenCLIP's tower was trained with windows that this id fills.
OPEN = 0


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Several `Text` as one: the tokens of each plan's every term stand one after the other, the summary is the first
    there is.

    Args:
        texts: at least one; their tokens are of one width.
        notes: what is to be said once of any picture, a sentence each.
    """

    texts: tuple[Text, ...]
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """Of the text that has the fewest to skip."""
        return min(text.layers for text in self.texts)

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture; the first one's warnings begin with the notes."""
        every = [text.condition(plans, skip=skip, weighting=weighting, applied=applied) for text in self.texts]
        known: dict[tuple[int, ...], Conditioning] = {}  # by identity: a text that two steps show is joined once

        def joined(parts: Sequence[Conditioning]) -> Conditioning:
            key = tuple(map(id, parts))
            if key not in known:
                known[key] = end_to_end(parts)
            return known[key]

        out: list[Encoded] = []
        for of_plan in zip(*every, strict=True):
            together = map(joined, zip(*(encoded.conditionings for encoded in of_plan), strict=True))
            notes = () if out else self.notes
            warnings = dict.fromkeys([*notes, *(sentence for encoded in of_plan for sentence in encoded.warnings)])
            out.append(replace(of_plan[0].map(lambda _, rest=together: next(rest)), warnings=tuple(warnings)))
        return tuple(out)

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> Joined:
        """The same texts, each of which also knows learned words."""
        return replace(self, texts=tuple(text.with_words(words) for text in self.texts))


def end_to_end(parts: Sequence[Conditioning]) -> Conditioning:
    """(1, L_i, D) each -> (1, Σ L_i, D), with the first summary there is."""
    return Conditioning(
        tokens=torch.cat([part.tokens for part in parts], 1),
        pooled=next((part.pooled for part in parts if part.pooled is not None), None),
    )


@dataclass(frozen=True, kw_only=True)
class Silence:
    """`Text` in the place of a whole stream that is absent: zeros, whatever is said.

    Args:
        width, length: of the tokens. summary: of the summary, 0 for none. device: where they are.
    """

    width: int
    length: int = ABSENT
    summary: int = 0
    device: torch.device | str = "cpu"

    @property
    def layers(self) -> int:
        """No limit."""
        return ANY_LAYERS

    def condition(
        self, plans: Sequence[Plan], *, skip: int = 0, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """The same zeros at every step of every plan."""
        zeros = Conditioning(
            tokens=torch.zeros(1, self.length, self.width, device=self.device),
            pooled=torch.zeros(1, self.summary, device=self.device) if self.summary else None,
        )

        return tuple(Encoded.of(plan, lambda text: zeros) for plan in plans)

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> Silence:
        """The same: it hears nothing."""
        return self


class SilentTower(CLIPText):
    """A CLIP tower that is absent while another is there: tokens and summary are zeros.

    Args:
        width: of both.
    """

    def __init__(self, width: int):
        nn.Module.__init__(self)  # a tower without layers, and so without CLIP's own parts
        self.config = CLIPTextConfig(hidden_size=width, projection_dim=width, num_hidden_layers=ANY_LAYERS)
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # knows the device and the precision

    def forward(self, ids: Tensor, *, skip: int = 0, normed: bool = True) -> TextFeatures:
        """(B, L) -> zeros."""
        tokens = self.place.new_zeros(*ids.shape, self.config.hidden_size)
        return TextFeatures(tokens=tokens, hidden=(), pooled=tokens[:, 0], projected=tokens[:, 0])


def _tower(net: CLIPText, pad: int | None = None) -> Tower:
    """A tower as SD3 hears it; one of a single file may have lost its projection, which was the identity there."""
    return Tower(net=net, pad=pad, normed=False, summary="projected" if net.config.projection_dim else "pooled")


def sd3_text(
    *,
    clip: Tokenizer,
    clip_l: CLIPText | None,
    clip_g: CLIPText | None,
    t5: T5 | None = None,
    pieces: Tokenizer | None = None,
    width: int = 4096,
    widths: tuple[int, int] = WIDTHS,
    absent: int = ABSENT,
) -> Joined:
    """The text of a Stable Diffusion 3 from the encoders that are there; `Joined.notes` names those that are not.

    A prompt skips one layer of CLIP (``skip=1``) unless it is asked for another. A tower of CLIP that is absent beside
    the other is zeros within each token and the summary; a T5 that is absent, or both towers, are a window of zero
    tokens.

    Args:
        clip: CLIP's vocabulary, its padding 49407.
        clip_l, clip_g: its towers, ViT-L/14 and bigG/14.
        t5, pieces: the T5 and its vocabulary (`danqing.prompt.t5.t5_tokenizer`); both or neither.
        width: D of the tokens that the network reads.
        widths: of the towers, for one that is absent.
        absent: tokens of zeros for a stream that is absent: 77 as in the paper's figure 2; newer versions of diffusers
            say nothing as long as their T5 would have spoken, 256.

    Raises:
        InvalidInput: no encoder at all, a T5 without its vocabulary or with a larger one than its own, or one that is
            not as wide as the network reads.
    """
    if clip_l is None and clip_g is None and t5 is None:
        raise InvalidInput("this model has none of its three text encoders: give CLIP-L, CLIP-bigG or T5, any of them")
    if (t5 is None) != (pieces is None):
        raise InvalidInput(
            "a T5 reads ids of its own vocabulary: give both, its weights and its tokenizer.json or spiece.model"
        )
    if t5 is not None and t5.config.d_model != width:
        raise InvalidInput(
            f"this T5 says tokens of width {t5.config.d_model}, the network reads {width}: use the model's own T5"
        )
    if t5 is not None and isinstance(pieces, PieceTokenizer) and pieces.size > t5.config.vocab_size:
        raise InvalidInput(
            f"a vocabulary of {pieces.size} ids for a T5 of {t5.config.vocab_size}: use the tokenizer of its own folder"
        )
    device = next(parameter.device for net in (clip_l, clip_g, t5) if net is not None for parameter in net.parameters())
    if clip_l is None and clip_g is None:
        first: Text = Silence(width=width, length=absent, summary=sum(widths), device=device)
    else:
        left, right = (
            SilentTower(n).to(device) if net is None else net for net, n in zip((clip_l, clip_g), widths, strict=True)
        )
        first = ClipText(
            tokenizer=clip, towers=(_tower(left), _tower(right, OPEN)), even=True, width=width, max_chunks=CHUNKS
        )
    if t5 is None or pieces is None:
        second: Text = Silence(width=width, length=absent, device=device)
    else:
        second = T5Text(tokenizer=pieces, net=t5)
    names = {"CLIP-L": clip_l, "CLIP-bigG": clip_g, "T5": t5}
    notes = tuple(
        f"the text encoder {name} is absent; zeros stand in its place." for name, net in names.items() if net is None
    )
    return Joined(texts=(first, second), notes=notes)
