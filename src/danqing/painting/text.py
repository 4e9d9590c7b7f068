"""How each kind of model reads its prompts, and what stands around its denoiser so that it does: one explicit table,
`TEXTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import nn

from ..errors import InvalidFile, UnknownName
from ..nets.autoencoder_kl import AutoencoderKL
from ..nets.clip import CLIPText
from ..nets.drafted import DraftedUNet
from ..nets.longtext import Windowed
from ..nets.mmdit import MMDiT
from ..nets.pixel_unet import PixelUNet
from ..nets.sized import Sized
from ..nets.t5 import T5
from ..nets.unet import UNet
from ..prompt.joint import sd3_text
from ..prompt.labels import ClassText
from ..prompt.placed import PlacedText
from ..prompt.t5 import t5_tokenizer
from ..prompt.tokenize import Tokenizer, bilingual_tokenizer, clip_tokenizer, with_words
from ..prompt.towers import ClipText, Scored, Text, Tower
from ..store.model import Model
from .classes import classes_of

Nets = Mapping[str, nn.Module]
#: OpenCLIP's towers were trained with windows that 0 fills; OpenAI's with 49407.
OPEN = 0


class TextAndNet(NamedTuple):
    """The text of a model, and its denoiser's network as it is called with what the text says."""

    text: Text
    net: nn.Module


def text_of(model: Model, nets: Nets) -> TextAndNet:
    """Put a model's text encoders and its denoiser together.

    Raises:
        UnknownName: the model states a kind of text that is none. InvalidFile: a part is missing or of another family.
    """
    kind = model.text.get("kind", "classes" if isinstance(nets["denoiser"], PixelUNet) else "clip")
    if kind not in TEXTS:
        raise UnknownName("kind of text", kind, TEXTS)
    return TEXTS[kind](model, nets)


def _tower(model: Model, nets: Nets, part: str = "text", **options: Any) -> Tower:
    net = nets.get(part)
    if not isinstance(net, CLIPText):
        raise InvalidFile(
            f"{model.source or model.folder}: its {part} must be a clip-text, but is {type(net).__name__}"
        )
    return Tower(net=net, **options)


def _words(model: Model, nets: Nets, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the words that were added to a model's own.

    Raises:
        InvalidFile: its text encoder has no vectors for one, or reads less at once than the tokenizer's window.
    """
    towers = [net.config for net in nets.values() if isinstance(net, CLIPText)]
    room = min((tower.max_position_embeddings for tower in towers), default=tokenizer.window)
    if tokenizer.window > room:
        raise InvalidFile(
            f"{model.source or model.folder}: its tokenizer's window is {tokenizer.window}, and its text encoder reads "
            f"{room} at once"
        )
    words = {word: tuple(ids) for word, ids in model.tokenizer.get("words", {}).items()}
    rooms = [tower.vocab_size for tower in towers]
    for word, ids in words.items():
        if not all(0 <= n < room for n in ids for room in rooms):
            raise InvalidFile(
                f"{model.source or model.folder}: its word {word!r} has the number {max(ids)}, and its text encoder "
                f"knows {min(rooms)}: its folders are of different versions. Copy or download them again"
            )
    return with_words(tokenizer, words)


def _summary(net: nn.Module) -> Literal["projected", "pooled"]:
    """A tower of a single file may have lost its projection, which was the identity there."""
    return "projected" if isinstance(net, CLIPText) and net.config.projection_dim else "pooled"


def _clip(model: Model, nets: Nets) -> TextAndNet:
    """One tower; a UNet that reads a summary gets the pooled one, and one that drafts what is placed by itself."""
    net = nets["denoiser"]
    # Attention to the text alone takes streams of any length; where text and picture attend to each other, it matters.
    even = not isinstance(net, UNet)
    summary = None if isinstance(net, UNet) and not net.config.pooled_channels else "pooled"
    text: Text = ClipText(
        tokenizer=_words(model, nets, tokenizer_of(model)),
        towers=(_tower(model, nets, summary=summary),),
        even=even,
    )
    return TextAndNet(PlacedText(text=text) if isinstance(net, DraftedUNet) else text, net)


def _openclip(model: Model, nets: Nets) -> TextAndNet:
    tokenizer = _words(model, nets, clip_tokenizer(pad=model.tokenizer.get("pad", OPEN)))
    return TextAndNet(ClipText(tokenizer=tokenizer, towers=(_tower(model, nets),)), nets["denoiser"])


def _unet(model: Model, nets: Nets, **options: Any) -> Sized:
    net, codec = nets["denoiser"], nets["codec"]
    if not isinstance(net, UNet) or not net.config.pooled_channels or not isinstance(codec, AutoencoderKL):
        raise InvalidFile(
            f"{model.source or model.folder}: its denoiser must be a UNet that is told sizes, its codec an "
            "autoencoder-kl"
        )
    return Sized(net, factor=codec.config.factor, **options)


def _sdxl(model: Model, nets: Nets) -> TextAndNet:
    towers = (
        _tower(model, nets, normed=False),
        _tower(model, nets, "text_2", pad=OPEN, normed=False, summary=_summary(nets["text_2"])),
    )
    return TextAndNet(ClipText(tokenizer=_words(model, nets, clip_tokenizer()), towers=towers), _unet(model, nets))


def _refiner(model: Model, nets: Nets) -> TextAndNet:
    part = "text" if "text" in nets else "text_2"
    tower = _tower(model, nets, part, pad=OPEN, normed=False, summary=_summary(nets[part]))
    text = ClipText(tokenizer=_words(model, nets, clip_tokenizer()), towers=(tower,))
    return TextAndNet(Scored(text=text), _unet(model, nets, scored=True))


def _sd3(model: Model, nets: Nets) -> TextAndNet:
    net = nets["denoiser"]
    if not isinstance(net, MMDiT):
        raise InvalidFile(f"{model.source or model.folder}: its denoiser must be an mmdit, but is {type(net).__name__}")
    net.through = Windowed()
    left, right, t5 = (nets.get(part) for part in ("text", "text_2", "text_3"))
    for part, tower, kind in (("text", left, CLIPText), ("text_2", right, CLIPText), ("text_3", t5, T5)):
        if tower is not None and not isinstance(tower, kind):
            raise InvalidFile(
                f"{model.source or model.folder}: its {part} must be a {kind.__name__}, but is {type(tower).__name__}"
            )
    text = sd3_text(
        clip=_words(model, nets, clip_tokenizer()),
        clip_l=left,  # pyright: ignore[reportArgumentType]
        clip_g=right,  # pyright: ignore[reportArgumentType]
        t5=t5,  # pyright: ignore[reportArgumentType]
        pieces=None if t5 is None else t5_tokenizer(model.path(model.tokenizer["file"])),
        width=net.config.joint_attention_dim,
    )
    return TextAndNet(text, net)


def _classes(model: Model, nets: Nets) -> TextAndNet:
    net = nets["denoiser"]
    if not isinstance(net, PixelUNet):
        raise InvalidFile(
            f"{model.source or model.folder}: its denoiser must know classes, but is {type(net).__name__}"
        )
    classes = classes_of(model, net.config.classes)
    if classes is None and net.config.classes:
        raise InvalidFile(
            f"{model.source or model.folder}: its denoiser knows {net.config.classes} classes, and its text "
            "must name them"
        )
    return TextAndNet(ClassText(classes=classes, device=next(net.parameters()).device), net)


#: By the kind that a model's description states.
TEXTS: Mapping[str, Callable[[Model, Nets], TextAndNet]] = {
    "clip": _clip,
    "openclip": _openclip,
    "sdxl": _sdxl,
    "sdxl-refiner": _refiner,
    "sd3": _sd3,
    "classes": _classes,
}


def tokenizer_of(model: Model) -> Tokenizer:
    """The vocabulary that a model.json states: {"kind": "bilingual", "file": ...} or {"kind": "clip", "pad": ...};
    CLIP's by default."""
    options = dict(model.tokenizer)
    options.pop("words", None)  # those of another program's folder, which `_words` adds
    kind = options.pop("kind", "clip")
    try:
        if kind == "bilingual":
            return bilingual_tokenizer(model.path(options.pop("file", "")), **options)
        if kind == "clip":
            return clip_tokenizer(**options)
    except TypeError as error:
        raise InvalidFile(
            f"{model.folder / 'model.json'} has a missing or unknown field of the tokenizer: {error}"
        ) from None
    raise UnknownName("kind of tokenizer", kind, ("bilingual", "clip"))
