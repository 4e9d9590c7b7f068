"""The families that learn a folder of one's own pictures. `TRAINABLE` is the one table of them; no torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name

from ..tables import Table


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """A family that learns pictures.

    Args:
        experiment: where its `danqing.teach.base.OwnPictures` lies, "package.module:Class".
        least: of how many pictures it can learn something.
        paints: what comes of it, half a sentence for help.
        uses: the commands that its model takes, of {model}, the name {kind} of its first class, and {first} and
            {second} of the pictures.
    """

    experiment: str
    least: int
    paints: str
    uses: tuple[str, ...] = ("danqing paint --model {model}",)

    def made(self) -> type:
        """The class of its experiment."""
        return resolve_name(self.experiment)


CLASSED = ("danqing paint {kind} --model {model}",)
ROWS: Mapping[str, Trainable] = {
    "vae": Trainable(
        experiment="danqing.teach.vae:OwnVAE",
        least=4,
        paints="soft pictures, soon, and a latent of any picture",
        uses=(
            "danqing paint --model {model}",
            "danqing reconstruct {first} --model {model}",
            "danqing interpolate {first} {second} --model {model}",
        ),
    ),
    "ddpm": Trainable(
        experiment="danqing.teach.ddpm:OwnDDPM",
        least=8,
        paints="sharp pictures out of noise, slowly, of a class",
        uses=CLASSED,
    ),
    "biggan": Trainable(
        experiment="danqing.teach.biggan:OwnBigGAN",
        least=16,
        paints="pictures at once, of a class",
        uses=CLASSED,
    ),
    "stylegan2": Trainable(
        experiment="danqing.teach.stylegan2:OwnStyleGAN2",
        least=16,
        paints="pictures at once, of things alike such as faces",
    ),
    "pixelcnn": Trainable(
        experiment="danqing.teach.pixelcnn:OwnPixelCNN",
        least=8,
        paints="small pictures of few colours, pixel by pixel, of a class",
        uses=CLASSED,
    ),
}
TRAINABLE: Table[Trainable] = Table(
    "trainable", ROWS, kind="teach.table:Trainable", columns={"paints": lambda row: row.paints}
)
