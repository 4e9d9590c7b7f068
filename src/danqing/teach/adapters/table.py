"""The kinds of adapters that learn a folder of one's own pictures. `ADAPTERS` is the one table of them; no torch is
loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name

from ...tables import Table


@dataclass(frozen=True, kw_only=True)
class Teachable:
    """A kind of adapter.

    Args:
        experiment: where its `danqing.teach.adapters.base.OwnAdapter` lies, "package.module:Class".
        does: in one sentence, for help.
        epilog: commands with its settings, for help.
        least: of how many pictures it can learn something.
        place: the kind of folder of models that takes its file, as `danqing.store.library.home`.
        uses: the command that paints with it, of {file}, {name}, {model} and {picture}.
    """

    experiment: str
    does: str
    epilog: str
    least: int = 1
    place: str
    uses: str

    def made(self) -> type:
        """The class of its experiment."""
        return resolve_name(self.experiment)


ROWS: Mapping[str, Teachable] = {
    "lora": Teachable(
        experiment="danqing.teach.adapters.lora:OwnLoRA",
        does="Train a LoRA or DoRA: a style or a subject, as small changes of a model's layers.",
        epilog="""
danqing learn lora inks                               20 drawings, what each shows in a .txt of its name beside it
danqing learn lora inks --set rank=16 --set alpha=8 --set targets=attention
danqing learn lora mydog --set caption="a sks dog" --set prior="a dog"
danqing learn lora inks --set dora=true --set text=true
danqing learn lora inks --model sdxl.safetensors --set rate=1e-4 --set recompute=true --set batch=1
""",
        place="lora",
        uses='danqing paint "{caption} <lora:{name}>" --model {model}',
    ),
    "word": Teachable(
        experiment="danqing.teach.adapters.word:OwnWord",
        does="Train a new word (textual inversion): a subject or a style, as vectors that prompts are read with.",
        epilog="""
danqing learn word mydog --set word=mydog --set init=dog
danqing learn word inks --set word=inks --set vectors=4 --set caption="a picture, inks"
""",
        place="embedding",
        uses='danqing paint "{caption}" --model {model}',
    ),
    "control": Teachable(
        experiment="danqing.teach.adapters.control:OwnControl",
        does="Train a ControlNet: to follow a hint of a picture, its edges or its palette.",
        epilog="""
danqing learn control pictures                        edges; thousands of pictures, captions beside them
danqing learn control pictures --set hint=palette     any hint that `danqing hint` draws
""",
        least=8,
        place="controlnet",
        uses='danqing paint "{caption}" --control {hint}@{file}:{picture} --model {model}',
    ),
    "image-prompt": Teachable(
        experiment="danqing.teach.adapters.image_prompt:OwnImagePrompt",
        does="Train an IP-Adapter: to read pictures as prompts.",
        epilog="""
danqing learn image-prompt pictures                   thousands of pictures, captions beside them
danqing learn image-prompt pictures --set begin=danqing-mini-image-prompt --set steps=400
danqing learn image-prompt pictures --model sd15 --set tower=vit-h --set rate=1e-4
""",
        least=8,
        place="ip-adapter",
        uses="danqing paint --image-prompt {picture},file={file} --model {model}",
    ),
    "face": Teachable(
        experiment="danqing.teach.adapters.face:OwnFace",
        does="Train an adapter that keeps faces: whose they are, from the recogniser that ships.",
        epilog="""
danqing learn face people                             a folder a person: one picture's face is shown with another
danqing learn face people --model sd15 --set rate=1e-4
""",
        least=8,
        place="ip-adapter",
        uses='danqing paint "{caption}" --face {picture},file={file},place=0 --model {model}',
    ),
}
ADAPTERS: Table[Teachable] = Table(
    "teachable", ROWS, kind="teach.adapters.table:Teachable", columns={"what it does": lambda row: row.does}
)
