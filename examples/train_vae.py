"""A VAE that learns a folder of pictures: an experiment as `danqing learn` runs it, and the model that comes of it.

danqing learn examples/train_vae.py --set pictures=photos --set steps=2000 --out runs/photos
danqing learn examples/train_vae.py --set pictures=photos --set steps=2000 --out runs/photos --export photos-vae
danqing paint --model ./photos-vae
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from PIL import Image

from danqing.learn.data.folder import Folder
from danqing.learn.objectives.elbo import EvidenceBound
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Training
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import to_arrays
from danqing.nets.vae import VAE, VAEConfig, prior
from danqing.noise import keyed
from danqing.run.device import find_device
from danqing.store.model import write_model
from danqing.weights.load import save


@dataclass(frozen=True, kw_only=True)
class PicturesVAE(Experiment):
    """Learn to paint what lies in a folder."""

    steps: Free[Count] = 2000
    pictures: Path = Path("pictures")
    batch: Count = 32
    net: VAEConfig = field(default_factory=VAEConfig)

    def training(self) -> Training:
        torch.manual_seed(0)  # the same settings are the same run
        device = find_device()
        model = VAE(self.net).to(device)
        folder = Folder(self.pictures, size=self.net.image_size, batch=self.batch)
        return Training(
            model=model,
            objective=EvidenceBound(),
            batches=lambda index: folder(index).to(device),
            optimisers={"loss": Muon(muon_groups(model, lr=0.01, adam_lr=1e-3, edges=("encoder.conv_in", "decoder")))},
            ema=EMA(model, 0.99),
            notes=folder.notes,
        )

    def samples(self, run: Training) -> Image.Image:
        """Eight pictures from the prior."""
        z = prior([keyed("sample", n) for n in range(8)], self.net.latent_dim)
        drawn = averaged(run).decode(z.to(find_device()))
        return Image.fromarray(torch.cat(list(torch.from_numpy(to_arrays(drawn.float()))), 1).numpy())

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        side = self.net.image_size
        save(averaged(run), folder / "generator.safetensors")
        write_model(
            folder,
            name="pictures-vae",
            components={"generator": ("vae", "generator.safetensors", asdict(self.net))},
            multiple=side,
            defaults={"width": side, "height": side},
        )


def averaged(run: Training) -> VAE:
    """The network with the averaged weights."""
    assert run.ema is not None and isinstance(run.ema.model, VAE)
    return run.ema.model
