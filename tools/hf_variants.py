#!/usr/bin/env python3
"""Tiny random models of every family in every variant that their configurations allow, each with Transformers' numbers.

    tools/hf_variants.py OUT_DIR [NAME ...]

makes OUT_DIR/hf/NAME/ (config.json, safetensors, reference.safetensors), which `conclave golden OUT_DIR` puts through the
program. Needs torch, transformers and safetensors.
"""

import pathlib
import subprocess
import sys

SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=128, max_position_embeddings=256)
LATENT = SMALL | dict(num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8,
                      v_head_dim=12, moe_intermediate_size=12, n_routed_experts=8, n_shared_experts=1,
                      num_experts_per_tok=3, first_k_dense_replace=1)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=32)

VARIANTS = {
    "llama_biases": ("llama", SMALL | dict(attention_bias=True, mlp_bias=True)),
    "llama_linear": ("llama", SMALL | dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "llama_llama3": ("llama", SMALL | dict(rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.5, high_freq_factor=5.0,
        original_max_position_embeddings=16), tie_word_embeddings=True)),
    "llama_yarn": ("llama", SMALL | dict(rope_parameters=YARN)),
    "llama_yarn_factor": ("llama", SMALL | dict(rope_parameters=YARN | dict(attention_factor=0.8, beta_fast=16.0, beta_slow=2.0))),
    "llama_yarn_untruncated": ("llama", SMALL | dict(rope_parameters=YARN | dict(truncate=False))),
    "llama_one_group": ("llama", SMALL | dict(num_key_value_heads=1, head_dim=24)),
    "mistral_no_window": ("mistral", SMALL | dict(sliding_window=None)),
    "mistral_window": ("mistral", SMALL | dict(sliding_window=3, head_dim=10)),
    "mixtral_k1": ("mixtral", SMALL | dict(num_local_experts=4, num_experts_per_tok=1)),
    "mixtral_all": ("mixtral", SMALL | dict(num_local_experts=5, num_experts_per_tok=5)),
    "mixtral_window": ("mixtral", SMALL | dict(num_local_experts=4, num_experts_per_tok=3, sliding_window=5, head_dim=24)),
    "qwen2_windows": ("qwen2", SMALL | dict(num_hidden_layers=3, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
    "qwen2_tied": ("qwen2", SMALL | dict(tie_word_embeddings=True, num_key_value_heads=4)),
    "qwen3_biases": ("qwen3", SMALL | dict(head_dim=16, attention_bias=True, tie_word_embeddings=True)),
    "qwen2_moe_norm": ("qwen2_moe", SMALL | dict(num_experts=6, num_experts_per_tok=6, moe_intermediate_size=16,
                                                shared_expert_intermediate_size=24, norm_topk_prob=True)),
    "qwen2_moe_plain": ("qwen2_moe", SMALL | dict(num_experts=6, num_experts_per_tok=4, moe_intermediate_size=16,
                                                 shared_expert_intermediate_size=24, norm_topk_prob=False,
                                                 qkv_bias=False, num_hidden_layers=3, mlp_only_layers=[0],
                                                 use_sliding_window=True, sliding_window=4, max_window_layers=3)),
    "qwen2_moe_k1": ("qwen2_moe", SMALL | dict(num_experts=6, num_experts_per_tok=1, moe_intermediate_size=16,
                                              shared_expert_intermediate_size=24, norm_topk_prob=False)),
    "qwen3_moe_plain": ("qwen3_moe", SMALL | dict(head_dim=16, num_experts=8, num_experts_per_tok=5, moe_intermediate_size=16,
                                                 norm_topk_prob=False, num_hidden_layers=3, decoder_sparse_step=2)),
    "qwen3_moe_window": ("qwen3_moe", SMALL | dict(head_dim=16, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=16,
                                                  norm_topk_prob=True, use_sliding_window=True, sliding_window=4,
                                                  attention_bias=True, rope_parameters=YARN)),
    "qwen3_moe_k1_norm": ("qwen3_moe", SMALL | dict(head_dim=16, num_experts=4, num_experts_per_tok=1,
                                                   moe_intermediate_size=16, norm_topk_prob=True)),
    "deepseek_v2_direct": ("deepseek_v2", LATENT | dict(q_lora_rank=None, topk_method="group_limited_greedy", n_group=4,
                                                       topk_group=2, routed_scaling_factor=16.0, head_dim=8)),
    "deepseek_v2_biases": ("deepseek_v2", LATENT | dict(attention_bias=True, mlp_bias=False, num_experts_per_tok=1,
                                                       first_k_dense_replace=0, head_dim=8)),
    "deepseek_v2_yarn": ("deepseek_v2", LATENT | dict(head_dim=8, rope_parameters=YARN | dict(mscale=0.5, mscale_all_dim=0.9))),
    "deepseek_v3_plain": ("deepseek_v3", LATENT | dict(norm_topk_prob=False, n_group=1, topk_group=1, q_lora_rank=None)),
    "deepseek_v3_k1": ("deepseek_v3", LATENT | dict(num_experts_per_tok=1, n_group=2, topk_group=1)),
    "deepseek_v3_halves": ("deepseek_v3", LATENT | dict(rope_interleave=False, attention_bias=True, n_group=4, topk_group=3)),
    "deepseek_v3_linear": ("deepseek_v3", LATENT | dict(n_group=4, topk_group=2, first_k_dense_replace=0, rope_parameters=dict(
        rope_type="linear", rope_theta=10000.0, factor=2.0))),
    "deepseek_v3_all": ("deepseek_v3", LATENT | dict(n_group=2, topk_group=2, num_experts_per_tok=8, tie_word_embeddings=True)),
}


def make(name, folder):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, values = VARIANTS[name]
    torch.manual_seed(sum(name.encode()))
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values))
    with torch.no_grad():
        for path, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if path.endswith("inv_freq") or "rotary" in path:
                continue
            if path.endswith("correction_bias"):
                tensor.copy_(0.1 * torch.randn(tensor.shape))
            elif "norm" in path:
                tensor.copy_(1 + 0.2 * torch.randn(tensor.shape))
            elif "gate.weight" in path and "proj" not in path:
                tensor.copy_(0.5 * torch.randn(tensor.shape))
            else:
                tensor.copy_(0.18 * torch.randn(tensor.shape))
    model.save_pretrained(folder)
    reference = pathlib.Path(__file__).with_name("hf_reference.py")
    subprocess.run([sys.executable, reference, folder, "--length", "20", "--seed", "3"], check=True)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    names = sys.argv[2:] or list(VARIANTS)
    for name in names:
        make(name, pathlib.Path(sys.argv[1]) / "hf" / name)


if __name__ == "__main__":
    main()
