"""The fields of other programs' configs: those used here, those that change no picture, and any other, which is told.
One table a config.

Source: the configs of the published folders; the arguments of diffusers' and transformers' classes; the .yaml files of
CompVis/stable-diffusion, Stability-AI/stablediffusion and Stability-AI/generative-models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

#: What a field says where it asks for nothing: so does one that is not there.
OFF = (None, False, "", [], {})
#: How many fields a warning names, and how much of each value.
LISTED, QUOTED = 6, 40


class Table(NamedTuple):
    """The fields of one config.

    Args:
        used: what is read; or what the tensors tell, every name and shape of which is compared.
        harmless: patterns of the names of fields that change no picture, whatever they say.
        fixed: name -> the values at which a field says what is computed here anyhow.
    """

    used: frozenset[str]
    harmless: tuple[str, ...] = ()
    fixed: Mapping[str, tuple[Any, ...]] = {}

    def others(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are neither used nor harmless."""
        return {
            name: value
            for name, value in said.items()
            if name not in self.used
            and value not in (*OFF, *self.fixed.get(name, ()))
            and not any(fnmatchcase(name, pattern) for pattern in self.harmless)
        }

    def unread(self, where: object, said: Mapping[str, Any]) -> tuple[str, ...]:
        """A sentence on the fields of a config that nothing here reads and that may change the picture, or none."""
        found = [f"{name} {json.dumps(value, default=str)[:QUOTED]}" for name, value in self.others(said).items()]
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        shown = ", ".join(found[:LISTED]) + more
        return (f"{where} says {shown}, which is not read here and may change the picture.",) if found else ()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _patterns(text: str, before: str = "") -> tuple[str, ...]:
    return tuple(before + name for name in text.split())


#: Of every config of diffusers, and of every one of transformers.
DIFFUSERS = ("_*",)
TRANSFORMERS = _patterns(
    "_* architectures model_type torch_dtype dtype transformers_version output_* return_dict* initializer_* *dropout* "
    "use_cache gradient_checkpointing *_token_id id2label label2id task_specific_params is_encoder_decoder is_decoder "
    "problem_type chunk_size_feed_forward tie_word_embeddings torchscript use_bfloat16 num_labels finetuning_task "
    "pruned_heads min_length max_length *beam* do_sample early_stopping *temperature top_? typical_p "
    "repetition_penalty length_penalty *no_repeat_ngram_size bad_words_ids diversity_penalty prefix "
    "remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens "
    "cross_attention_hidden_size add_cross_attention tokenizer_class attn_implementation"
)

UNET = Table(
    _names(
        "sample_size in_channels out_channels down_block_types mid_block_type up_block_types block_out_channels "
        "layers_per_block norm_num_groups cross_attention_dim transformer_layers_per_block attention_head_dim "
        "num_attention_heads use_linear_projection projection_class_embeddings_input_dim"
    ),
    (*DIFFUSERS, "dropout", "upcast_attention", "addition_embed_type_num_heads"),
    {
        "flip_sin_to_cos": (True,),
        "downsample_padding": (1,),
        "mid_block_scale_factor": (1,),
        "act_fn": ("silu", "swish"),
        "norm_eps": (1e-5,),
        "addition_embed_type": ("text_time",),
        "addition_time_embed_dim": (256,),
        "resnet_time_scale_shift": ("default",),
        "resnet_out_scale_factor": (1.0,),
        "time_embedding_type": ("positional",),
        "conv_in_kernel": (3,),
        "conv_out_kernel": (3,),
        "attention_type": ("default",),
    },
)
MMDIT = Table(
    _names(
        "sample_size patch_size in_channels num_layers attention_head_dim num_attention_heads joint_attention_dim "
        "caption_projection_dim pooled_projection_dim out_channels pos_embed_max_size dual_attention_layers"
    ),
    DIFFUSERS,
    {"qk_norm": ("rms_norm",)},
)
VAE = Table(
    _names(
        "in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block latent_channels "
        "norm_num_groups scaling_factor shift_factor latents_mean latents_std use_quant_conv use_post_quant_conv "
        "mid_block_add_attention"
    ),
    # What overflows in half precision is painted again in full.
    (*DIFFUSERS, "sample_size", "force_upcast"),
    {"act_fn": ("silu", "swish")},
)
CLIP = Table(
    _names(
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings "
        "hidden_act layer_norm_eps projection_dim eos_token_id"
    ),
    TRANSFORMERS,
)
T5 = Table(
    _names(
        "vocab_size d_model d_kv d_ff num_layers num_heads relative_attention_num_buckets layer_norm_epsilon "
        "relative_attention_max_distance"
    ),
    (*TRANSFORMERS, "num_decoder_layers", "n_positions", "scale_decoder_outputs", "output_past"),
    {"feed_forward_proj": ("gated-gelu",), "dense_act_fn": ("gelu_new",), "is_gated_act": (True,)},
)
#: By family.
NETWORKS: Mapping[str, Table] = {"unet": UNET, "mmdit": MMDIT, "autoencoder-kl": VAE, "clip-text": CLIP, "t5": T5}

#: A scheduler's class and most of its fields choose how to sample, which is the request's to say.
SCHEDULER = Table(
    _names(
        "num_train_timesteps beta_start beta_end beta_schedule prediction_type rescale_betas_zero_snr sigma_data "
        "use_flow_sigmas flow_shift shift timestep_spacing"
    ),
    DIFFUSERS
    + _patterns(
        "set_alpha_to_one skip_prk_steps steps_offset variance_type algorithm_type solver_* lower_order_final "
        "euler_at_final use_lu_lambdas use_[!f]*_sigmas rho final_sigmas_type lambda_min_clipped interpolation_type "
        "clip_sample_range dynamic_thresholding_ratio sample_max_value sigma_m?? sigma_schedule predict_x0 "
        "original_inference_steps disable_corrector time_shift_type *_image_seq_len base_shift max_shift "
        "snr_shift_scale noise_sampler_seed s_noise predictor_* corrector_*"
    ),
    {"timestep_type": ("discrete",), "timestep_scaling": (10.0,)},
)
#: Classes of schedulers whose networks are like any other. The rest belong to networks that were made to be sampled
#: their way.
SAMPLERS = _names(
    "PNDMScheduler DDIMScheduler DDPMScheduler EulerDiscreteScheduler EulerAncestralDiscreteScheduler "
    "DPMSolverMultistepScheduler DPMSolverSinglestepScheduler DPMSolverSDEScheduler HeunDiscreteScheduler "
    "KDPM2DiscreteScheduler KDPM2AncestralDiscreteScheduler LMSDiscreteScheduler UniPCMultistepScheduler "
    "DEISMultistepScheduler SASolverScheduler IPNDMScheduler DDIMParallelScheduler DDPMParallelScheduler "
    "FlowMatchEulerDiscreteScheduler FlowMatchHeunDiscreteScheduler EDMEulerScheduler EDMDPMSolverMultistepScheduler"
)

INDEX = Table(
    _names(
        "_class_name unet transformer vae text_encoder text_encoder_2 text_encoder_3 tokenizer tokenizer_2 tokenizer_3 "
        "scheduler requires_aesthetics_score"
    ),
    # Zeros for the negative prompt are for whoever states none at all; here it is the empty one.
    DIFFUSERS
    + _patterns(
        "safety_checker requires_safety_checker feature_extractor image_encoder force_zeros_for_empty_prompt "
        "add_watermarker is_unet_version_less_0_9_0"
    ),
)
TOKENIZER = Table(
    _names("added_tokens_decoder pad_token additional_special_tokens"),
    _patterns(
        "_* clean_up_tokenization_spaces errors *special_tokens* name_or_path tokenizer_file processor_class backend "
        "is_local padding* truncation* pad_to_max_length max_length stride *_token tokenizer_class model_max_length "
        "tokenizer_type local_files_only"
    ),
    {"do_lower_case": (True,)},
)

_P, _U, _D = "model.params.", "model.params.unet_config.params.", "model.params.denoiser_config.params."
_T = "model.params.cond_stage_config."
#: The .yaml of latent diffusion's own code, its names joined by dots.
YAML = Table(
    frozenset(
        {
            *_patterns("parameterization linear_start linear_end timesteps scale_factor", _P),
            *_patterns("num_heads num_head_channels", _U),
            _D + "scaling_config.target",
        }
    ),
    (
        *_patterns("data data.* lightning lightning.* model.base_learning_rate model.target *.ckpt_path"),
        *_patterns("num_timesteps_cond log_every_t *_key image_size channels monitor *_trainable use_ema *_keys", _P),
        *_patterns("*scheduler_config* first_stage_config.* load_only_unet disable_first_stage_autocast", _P),
        *_patterns("conditioner_config.* network_config.* network_wrapper sampler_config.* loss_fn_config.*", _P),
        *_patterns("denoiser_config.target unet_config.target", _P),
        *_patterns("num_idx weighting_config.* quantize_c_noise", _D),
        *_patterns("freeze device max_length version arch", _T + "params."),
        *_patterns("image_size *_channels attention_resolutions num_res_blocks num_classes channel_mult", _U),
        *_patterns("use_spatial_transformer transformer_depth* context_dim use_checkpoint legacy use_fp16", _U),
        *_patterns("use_bf16 use_linear_in_transformer spatial_transformer_attn_type dropout", _U),
    ),
    {
        _P + "beta_schedule": ("linear",),
        _U + "dims": (2,),
        _U + "conv_resample": (True,),
        _T + "params.layer": ("penultimate",),
        _T + "target": _patterns("FrozenCLIPEmbedder FrozenOpenCLIPEmbedder", "ldm.modules.encoders.modules."),
        _D + "discretization_config.target": ("sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization",),
    },
)


def disagree(what: str, sources: Mapping[str, Any], used: Any) -> Iterable[str]:
    """A sentence where sources say different things of one, and which of these is used."""
    if len({json.dumps(value, sort_keys=True) for value in sources.values()}) > 1:
        said = ", ".join(f"{value} by {name}" for name, value in sources.items())
        yield f"what lies beside and in the weights disagrees: {what} is {said}. {used} is used."
