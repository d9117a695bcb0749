#!/usr/bin/env python3
"""Numbers for `conclave parity`: what Transformers makes of a model directory.

    tools/hf_reference.py MODEL_DIR [--out DIR] [--batch B] [--length S] [--seed N] [--tokens FILE.json]

writes reference.safetensors (input_ids, labels, logits, loss, and grad.NAME for every trainable tensor that stands in the
directory's safetensors files) and reference.json (versions and what was done). Float32, on the CPU, evaluation mode, plain
attention and experts, no auxiliary loss. Labels are already shifted: labels[b, t] is the token to be predicted at t; -100
takes no part. Needs torch, transformers and safetensors; the program itself needs none of them.
"""

import argparse
import json
import pathlib
import re
import sys


def stored_tensors(folder):
    """Name -> shape of every tensor in the folder's weight files, without reading their data."""
    shapes = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            shapes[name] = tuple(entry["shape"])
    if not shapes:
        sys.exit(f"{folder}: no model*.safetensors")
    return shapes


def make_tokens(torch, vocab, batch, length, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, vocab, (batch, length + 1), generator=generator)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def read_tokens(torch, path):
    """A JSON file {"input_ids": [[...]], "labels": [[...]]}."""
    given = json.loads(pathlib.Path(path).read_text())
    return torch.tensor(given["input_ids"]), torch.tensor(given["labels"])


def expert_slice(name, gradients):
    """The gradient of one matrix of one expert, cut from the stacked tensors that Transformers holds."""
    found = re.fullmatch(r"(.*)\.experts\.(\d+)\.(\w+)\.weight", name)
    if not found:
        return None
    block, expert, matrix = found[1].replace("block_sparse_moe", "mlp"), int(found[2]), found[3]
    both, down = f"{block}.experts.gate_up_proj", f"{block}.experts.down_proj"
    if matrix in ("down_proj", "w2"):
        return gradients[down][expert] if down in gradients else None
    if both not in gradients:
        return None
    gate, up = gradients[both][expert].chunk(2, dim=0)
    return gate if matrix in ("gate_proj", "w1") else up


def gradient_of(name, shape, gradients):
    if name in gradients:
        gradient = gradients[name]
    elif name.replace("block_sparse_moe", "mlp") in gradients:
        gradient = gradients[name.replace("block_sparse_moe", "mlp")]
    else:
        gradient = expert_slice(name, gradients)
    if gradient is not None and tuple(gradient.shape) != shape:
        sys.exit(f"{name}: stored as {shape}, its gradient is {tuple(gradient.shape)}")
    return gradient


def main():
    parser = argparse.ArgumentParser(description="Logits, loss and gradients of a model by Transformers.")
    parser.add_argument("model", type=pathlib.Path, help="directory with config.json and safetensors")
    parser.add_argument("--out", type=pathlib.Path, help="where to write (default: the model's directory)")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", help="JSON file with input_ids and labels instead of random tokens")
    parser.add_argument("--float64", action="store_true", help="compute in float64 (stored as float32)")
    args = parser.parse_args()

    import torch
    import transformers
    from safetensors.torch import save_file

    shapes = stored_tensors(args.model)
    dtype = torch.float64 if args.float64 else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, attn_implementation="eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    model.eval()
    if args.tokens:
        ids, labels = read_tokens(torch, args.tokens)
    else:
        ids, labels = make_tokens(torch, model.config.vocab_size, args.batch, args.length, args.seed)

    logits = model(input_ids=ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=-100)
    loss.backward()

    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    unused = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    out = {"input_ids": ids, "labels": labels, "logits": logits.detach().float(), "loss": loss.detach().float()}
    without = []
    for name, shape in shapes.items():
        gradient = gradient_of(name, shape, gradients)
        if gradient is None and name in unused:
            gradient = torch.zeros(shape)
        if gradient is None:
            without.append(name)
        else:
            out["grad." + name] = gradient.float()

    folder = args.out or args.model
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in out.items()}, folder / "reference.safetensors")
    about = {
        "model_type": model.config.model_type,
        "architecture": type(model).__name__,
        "dtype": str(dtype).removeprefix("torch."),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "seed": None if args.tokens else args.seed,
        "loss": loss.item(),
        "logits_std": logits.detach().std().item(),
        "parameters_without_gradient": without,
    }
    (folder / "reference.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{folder}/reference.safetensors: loss {loss.item():.6f}, {len(out) - 4} gradients, {len(without)} without")


if __name__ == "__main__":
    main()
