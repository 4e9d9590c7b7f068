"""A control network beside the `MMDiT` that it steers: what it is shown of a hint, and what it says to each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...codec import Codec, VAECodec
from ...errors import InvalidFile
from ...nets.controlnet import Shown
from ...nets.controlnet_mmdit import MMDiTControl
from ...nets.mmdit import MMDiT, spread
from ...nets.ports import Residuals


@dataclass(frozen=True, eq=False)
class MMDiTSteering:
    """A control network with what it lends of the model: the codec makes the latent that it is shown; the transformer
    embeds the noise where the network has no embedding of its own, and says how blocks are run.

    Raises:
        InvalidFile: the network reads other latents than the transformer, or has more blocks.
    """

    net: MMDiTControl
    mmdit: MMDiT
    codec: Codec

    def __post_init__(self) -> None:
        own, its = self.net.config, self.mmdit.config
        given = own.in_channels, own.patch_size
        if given != (its.in_channels, its.patch_size) or own.num_layers > its.num_layers:
            raise InvalidFile(
                f"the control network reads {own.in_channels} channels in patches of {own.patch_size} with "
                f"{own.num_layers} blocks, and the model {its.in_channels} in patches of {its.patch_size} with "
                f"{its.num_layers}: use one that was made for it"
            )

    @property
    def factor(self) -> int:
        """How many pixels lie along a cell of what is seen."""
        return self.codec.factor

    def see(self, hint: Tensor) -> Tensor:
        """The latent of a hint (B, 3, H, W), 0 to 1; a network for inpainting is also told where the picture stays.

        Where it is to be painted the hint is below 0, and seen black. Source: diffusers' pipelines of these networks,
        for which the latents of a silent one are not shifted, but for one that inpaints; for ``edges`` Stability AI.
        """
        config, levels = self.net.config, hint.clamp_min(0)
        latent = self.codec.encode(127.5 * levels + 0.5 if config.edges else 2 * levels - 1)
        if config.hint_channels:
            stays = F.interpolate((hint.amin(1, keepdim=True) >= 0).to(latent), latent.shape[-2:])
            return torch.cat([latent, stays], 1)
        if config.silent and isinstance(self.codec, VAECodec):
            return latent + (self.codec.shift * self.codec.rate).to(latent)
        return latent

    def __call__(
        self, x: Tensor, time: Tensor, tokens: Tensor | None, *, shown: Sequence[Shown], pooled: Tensor
    ) -> Residuals:
        """The residuals of port 1; see `nets.controlnet.ControlNet.forward`."""
        embed = self.net.pos_embed or self.mmdit.pos_embed
        found = self.net(embed(x), time, tokens, shown=shown, pooled=pooled, through=self.mmdit.through)
        return Residuals(down=spread(found, self.mmdit.config))
