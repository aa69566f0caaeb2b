//! The names that configurations have for the same thing, the commonest first.

pub(super) const HIDDEN: &[&str] = &["hidden_size", "n_embd", "d_model", "n_embed"];
pub(super) const LAYERS: &[&str] = &["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
pub(super) const VOCABULARY: &[&str] = &["vocab_size", "padded_vocab_size"];
pub(super) const HEADS: &[&str] = &["num_attention_heads", "n_head", "n_heads", "num_heads"];
pub(super) const KV_HEADS: &[&str] = &["num_key_value_heads", "num_kv_heads", "n_head_kv", "num_attention_groups"];
pub(super) const HEAD_SIZE: &[&str] = &["head_dim", "attention_head_dim", "kv_channels"];
pub(super) const INTERMEDIATE: &[&str] = &["intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"];
pub(super) const WINDOW: &[&str] = &["sliding_window", "sliding_window_size"];

pub(super) const EXPERTS: &[&str] = &["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"];
pub(super) const ACTIVE: &[&str] = &[
    "num_experts_per_tok",
    "experts_per_token",
    "num_experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_top_k",
    "moe_k",
];
pub(super) const EXPERT_SIZE: &[&str] = &["moe_intermediate_size", "expert_intermediate_size"];
pub(super) const SHARED: &[&str] =
    &["n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"];
pub(super) const SHARED_SIZE: &[&str] = &[
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
];

/// Fields that change neither bytes nor FLOP of a decode step: positions, norms' constants,
/// training, tokens, and how a library loads the model.
pub(super) const HARMLESS: &str = "\
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path \
    activation_function altup_active_idx altup_coef_clip altup_correct_scale architectures \
    attention_dropout attention_factor attention_multiplier attention_out_dropout \
    attention_softmax_in_fp32 attention_value_scale attn_dropout_prob attn_implementation \
    attn_logit_softcap attn_logit_softcapping attn_pdrop attn_scale attn_temperature_tuning \
    audio_token_id auto_map aux_loss_alpha bad_words_ids base_model_tp_plan \
    begin_suppress_tokens boa_token_id boi_token_id bos_token_id calc_scale chunk_size \
    chunk_size_feed_forward classifier_dropout clip_qkv compression_ratio decoder_start_token_id \
    dim_model_base diversity_penalty do_sample dropout dtype early_stopping emb_dropout_prob \
    embd_layer_norm_eps embd_pdrop embedding_multiplier enable_lm_head_fp32 \
    encoder_no_repeat_ngram_size eoa_token_id eoa_token_index eoi_token_id eos_token_id ep_size \
    expert_dropout exponential_decay_length_penalty final_logit_softcapping finetuning_task \
    floor_scale forced_bos_token_id forced_eos_token_id fp32_residual_connection \
    fuse_cross_entropy gradient_checkpointing hidden_act hidden_activation hidden_dropout \
    hidden_dropout_prob id2label ignore_index image_seq_length image_token_id image_token_index \
    indexer_rope_interleave init_device initial_context_length initializer_factor \
    initializer_range is_causal is_decoder is_encoder_decoder keys_to_ignore_at_inference \
    label2id layer_norm_eps layer_norm_epsilon layerdrop layernorm_epsilon length_penalty \
    logit_scale logits_scaling mamba_act mamba_chunk_size mamba_hidden_act mamba_ssm_dtype \
    max_length max_model_len max_position_embeddings max_seq_len max_sequence_length \
    max_window_layers media_placeholder_token_id min_length mlp_hidden_act mm_tokens_per_image \
    model_max_length model_type moe_apply_router_weight_on_input moe_aux_loss_coeff \
    moe_routed_scaling_factor moe_router_activation moe_router_logit_softcapping \
    moe_router_scaling_factor moe_router_score_function mscale multimodal_projector_bias \
    mup_enabled n_ctx n_group n_positions need_fp32_gate no_repeat_ngram_size \
    no_rope_layer_interval no_rope_layers nope_layer_interval norm_eps norm_epsilon \
    norm_expert_weight norm_topk_prob normalization_function num_beam_groups num_beams \
    num_logits_to_keep num_return_sequences original_max_position_embeddings output_attentions \
    output_hidden_states output_router_logits output_scores pad_token_id partial_rotary_factor \
    partial_rotary_factors position_embedding_type prefix pretraining_tp problem_type \
    projector_hidden_act pruned_heads qk_norm_type query_pre_attn_scalar remove_invalid_values \
    repetition_penalty rescale_prenorm_residual resid_pdrop residual_dropout residual_in_fp32 \
    residual_multiplier return_dict return_dict_in_generate rms_norm rms_norm_eps \
    rmsnorm_epsilon rope_impl rope_interleave rope_local_base_freq rope_parameters rope_pct \
    rope_percentage rope_ratio rope_scaling rope_theta rope_type rotary rotary_base rotary_dim \
    rotary_emb_base rotary_emb_fraction rotary_emb_scale_base rotary_pct rotary_percent \
    route_norm route_scale routed_scaling_factor router_aux_loss_coef router_bias_update_speed \
    router_dtype router_jitter_noise router_scaling_factor router_z_loss_coef \
    scale_attention_softmax_in_fp32 scale_attn_by_inverse_layer_idx scale_attn_weights \
    scale_depth scale_emb scale_embedding scale_fmt scale_softmax score_func scoring_func seed \
    sep_token_id seq_aux seq_length softmax_scale spatial_merge_size summary_activation \
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj suppress_tokens \
    swa_rope_theta swiglu_limit swiglu_limits swiglu_limits_shared task_specific_params \
    temperature tf_legacy_loss tie_encoder_decoder time_step_floor time_step_limit time_step_max \
    time_step_min time_step_rank tokenizer_class top_k top_p topk_group topk_method \
    torch_compile torch_dtype torchscript transformers.js_config transformers_version typical_p \
    unsloth_fixed unsloth_version use_bfloat16 use_bidirectional_attention use_cache \
    use_cuda_graphs use_dynamic_ntk use_flash_attention use_flash_attn use_fused_rope \
    use_image_id use_logn_attn use_mamba_kernels use_moe_router_bias use_rmsnorm use_rope \
    use_routing_bias use_sdpa_attention use_unified_vision_chunk verbose video_placeholder \
    video_token_id vision_end_token_id vision_feature_layer vision_feature_select_strategy \
    vision_soft_tokens_per_image vision_start_token_id vision_token_id yarn_only_types";

/// Parts of a model besides the decoder, which are ignored, and how to call them.
pub(super) const TOWERS: &[(&str, &str)] = &[
    ("vision_config", "the vision tower"),
    ("vision_tower_config", "the vision tower"),
    ("vision_model", "the vision tower"),
    ("vit_config", "the vision tower"),
    ("visual", "the vision tower"),
    ("audio_config", "the audio tower"),
    ("audio_encoder_config", "the audio tower"),
    ("audio_processor", "the audio tower"),
    ("embd_layer", "the towers' embedding"),
    ("img_processor", "the vision tower"),
    ("perceiver_config", "the vision tower's resampler"),
    ("projector_config", "the vision tower's projector"),
    ("resampler_config", "the vision tower's resampler"),
    ("talker_config", "the part that speaks"),
    ("token2wav_config", "the part that speaks"),
    ("code2wav_config", "the part that speaks"),
    ("speech_lora", "the adapter for speech"),
    ("vision_lora", "the adapter for vision"),
];

/// Counts of layers that predict further tokens (multi-token prediction): they take no part in a
/// decode step of one token.
pub(super) const PREDICTORS: &[&str] = &[
    "num_nextn_predict_layers",
    "mtp_num_hidden_layers",
    "mtp_transformer_layers",
    "num_mtp_modules",
    "num_mtp_layers",
    "mtp_num_layers",
    "use_mtp",
    "mtp_use_dedicated_embeddings",
    "mtp_layers_block_type",
    "mtp_hybrid_override_pattern",
    "mtp_loss_scaling_factor",
];
