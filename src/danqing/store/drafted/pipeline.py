"""Paints with a danqing model in diffusers: a UNet that reads the noisy latent and, beside it, a draft from the text.

pipe = DiffusionPipeline.from_pretrained("FOLDER", trust_remote_code=True)
pipe("a red fox, 3d style", generator=torch.Generator().manual_seed(1)).images[0]
"""

import math

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DiffusionPipeline, ImagePipelineOutput, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

from .laid import laid
from .scenes import things


class DraftedPipeline(DiffusionPipeline):
    """Text to pictures of 128 pixels, or of other multiples of 16.

    Args:
        unet: reads 8 channels of latent and 8 of draft, tokens and their summary.
        vae: folds blocks of pixels into channels; its config has the latents' scale and shift.
        text_encoder, tokenizer: a CLIP text model and its words, English and Chinese.
        draft: the summary laid out as a latent.
        scheduler: of a rectified flow.
    """

    model_cpu_offload_seq = "text_encoder->draft->unet->vae"

    def __init__(self, unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder, tokenizer, draft, scheduler):
        super().__init__()
        self.register_modules(
            unet=unet, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, draft=draft, scheduler=scheduler
        )
        self.patch = math.isqrt(vae.config.out_channels // 3)
        self.cell = self.patch * 2 ** (len(vae.config.block_out_channels) - 1)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.cell)

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens (B, L, C) of texts, and their summaries (B, C)."""
        window = self.text_encoder.config.max_position_embeddings
        ids = self.tokenizer(texts, padding="max_length", max_length=window, truncation=True, return_tensors="pt")
        heard = self.text_encoder(ids.input_ids.to(self._execution_device))
        return heard.last_hidden_state.to(self.unet.dtype), heard.pooler_output.to(self.unet.dtype)

    def guess(self, texts: list[str], pooled: torch.Tensor) -> torch.Tensor:
        """The draft (B, C, S, S) of texts with their summaries (B, C): thing by thing, where one places any."""
        drafts = self.draft(pooled.to(self.draft.dtype))
        for i, scene in enumerate(map(things, texts)):
            if scene:
                heard = self.encode([thing.text for thing in scene])[1].to(self.draft.dtype)
                places = drafts.new_tensor([thing[1:] for thing in scene])
                drafts[i] = laid(drafts[i : i + 1], self.draft(heard)[None], places[None])[0]
        return drafts.to(pooled)

    @torch.no_grad()
    def __call__(
        self,
        prompt,
        negative_prompt="",
        height: int = 128,
        width: int = 128,
        num_inference_steps: int = 20,
        guidance_scale: float = 3.0,
        num_images_per_prompt: int = 1,
        generator=None,
        latents: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ):
        """Paint ``num_images_per_prompt`` pictures of each prompt."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        prompts = [each for each in prompts for _ in range(num_images_per_prompt)]
        if height % (2 * self.cell) or width % (2 * self.cell):
            raise ValueError(f"height and width must be multiples of {2 * self.cell}, and are {height} and {width}")
        texts = [negative_prompt] * len(prompts) + prompts
        count, (tokens, pooled) = len(prompts), self.encode(texts)
        shape = (count, self.unet.config.out_channels, height // self.cell, width // self.cell)
        if latents is None:
            latents = randn_tensor(shape, generator, self._execution_device, torch.float32)
        x = latents.to(self._execution_device, torch.float32)
        guess = self.guess(texts, pooled)
        if guess.shape[2:] != x.shape[2:]:
            guess = F.interpolate(guess, x.shape[2:], mode="bilinear", align_corners=False)
        said = {"text_embeds": pooled, "time_ids": pooled.new_zeros(len(pooled), 0)}
        self.scheduler.set_timesteps(num_inference_steps, device=x.device)
        for t in self.progress_bar(self.scheduler.timesteps):
            both = torch.cat([torch.cat([x, x]).to(guess), guess], 1)
            out = self.unet(both, t, encoder_hidden_states=tokens, added_cond_kwargs=said).sample.float()
            base, guided = out.chunk(2)
            x = self.scheduler.step(base + guidance_scale * (guided - base), t, x).prev_sample
        z = (x / self.vae.config.scaling_factor + self.vae.config.shift_factor).to(self.vae.dtype)
        picture = F.pixel_shuffle(self.vae.decode(z).sample, self.patch).float()
        images = self.image_processor.postprocess(picture, output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)
