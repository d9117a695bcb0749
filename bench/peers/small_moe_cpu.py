"""The small MoE of configs/bench_small_moe.yaml as a whole training step in PyTorch: Transformers' Mixtral with grouped_mm experts,
torch.compile and fused AdamW. Prints one JSON line: tokens/s, step times, bytes of parameters, gradients and optimizer, peak resident set.

    OMP_NUM_THREADS=2 python3 bench/peers/small_moe_cpu.py [--dtype float32|bfloat16] [--eager] [--steps N]
"""
import argparse
import json
import resource
import time

import torch
import transformers
from transformers import MixtralConfig, MixtralForCausalLM

BATCH, SEQUENCE, VOCABULARY = 8, 256, 8192


def build(dtype):
    config = MixtralConfig(vocab_size=VOCABULARY, hidden_size=256, intermediate_size=512, num_hidden_layers=6, num_attention_heads=8,
                           num_key_value_heads=8, num_local_experts=16, num_experts_per_tok=2, max_position_embeddings=SEQUENCE,
                           output_router_logits=True, router_aux_loss_coef=0.01, use_cache=False, attn_implementation="sdpa")
    model = MixtralForCausalLM(config).to(dtype)
    model.set_experts_implementation("grouped_mm")
    return model


def product_rate(dtype, size=1024):
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = 0.0
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    model = build(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    forward = model if options.eager else torch.compile(model)
    tokens = torch.randint(0, VOCABULARY, (BATCH, SEQUENCE))
    times, processor = [], []
    for _ in range(options.steps):
        start, processor_start = time.perf_counter(), time.process_time()
        forward(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
        processor.append(time.process_time() - processor_start)
    steady = sorted(times[3:])
    median = steady[len(steady) // 2]
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    states = sum(t.numel() * t.element_size() for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t))
    print(json.dumps({
        "peer": f"transformers {transformers.__version__}, torch {torch.__version__}", "dtype": options.dtype,
        "compiled": not options.eager, "tokens_per_second": BATCH * SEQUENCE / median, "median_seconds": median, "best_seconds": steady[0],
        "processor_seconds": sum(processor[3:]) / len(processor[3:]),
        "product_flops": product_rate(dtype), "parameter_bytes": parameters, "optimizer_bytes": states,
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
