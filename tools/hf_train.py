#!/usr/bin/env python3
"""The same training run in PyTorch: a Hugging Face model, the batches that a finished run saw, AdamW, schedule, clipping.

    tools/hf_train.py RUN_DIR MODEL_DIR [--program build/cpu/conclave] [--out FILE.csv]

RUN_DIR is a run of `conclave train --load-hf MODEL_DIR --log-interval 1 --save RUN_DIR ...` in f32, without dropout. Options
come from RUN_DIR/options.yaml, the samples of each step from `conclave inspect RUN_DIR --iteration N --json`, tokens from
the .bin and .idx files, and the loss of each step from RUN_DIR/metrics.jsonl. Prints both loss curves and their largest
difference. The auxiliary loss is computed here from the router's logits, per layer and micro-batch. Needs torch and
transformers.
"""

import argparse
import array
import json
import math
import pathlib
import struct
import subprocess

SIZES = {1: ("B", 1), 2: ("b", 1), 3: ("h", 2), 4: ("i", 4), 5: ("q", 8), 8: ("H", 2)}


class TokenFile:
    """Sequences of an indexed data set."""

    def __init__(self, prefix):
        index = pathlib.Path(prefix + ".idx").read_bytes()
        code, count = index[17], struct.unpack_from("<Q", index, 18)[0]
        self.kind, self.size = SIZES[code]
        self.pointers = struct.unpack_from(f"<{count}q", index, 34 + 4 * count)
        self.data = pathlib.Path(prefix + ".bin").read_bytes()

    def read(self, sequence, offset, count):
        begin = self.pointers[sequence] + offset * self.size
        return list(array.array(self.kind, self.data[begin:begin + count * self.size]))


def read_options(path):
    """The flat values of options.yaml: groups of `key: value`."""
    out = {}
    for line in path.read_text().splitlines():
        key, _, value = line.strip().partition(": ")
        if line.startswith("  ") and value:
            try:
                out[key] = json.loads(value)
            except json.JSONDecodeError:
                out[key] = value.strip("'\"")
    return out


def samples_of(program, run, iteration, files):
    text = subprocess.run([program, "inspect", run, "--iteration", str(iteration), "--json"], check=True,
                          capture_output=True, text=True, errors="replace").stdout
    rows = []
    for sample in json.loads(text)["samples"]:
        if sample["path"] not in files:
            files[sample["path"]] = TokenFile(sample["path"])
        data = files[sample["path"]]
        rows.append([t for part in sample["parts"] for t in data.read(part["document"], part["offset"], part["tokens"])])
    return rows


def rate(options, samples):
    """Learning rate for the update after `samples` samples: linear warm-up, then a cosine."""
    batch, high, low = options["global-batch-size"], options["lr"], options["min-lr"]
    warm, end = options["lr-warmup-iters"] * batch, options["train-iters"] * batch
    if warm > 0 and samples <= warm:
        return high * samples / warm
    share = min((samples - warm) / (end - warm), 1.0)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))


def balancing_loss(torch, logits, topk, coefficient):
    """coefficient * E / (K T^2) * sum over experts of (sum of probabilities) * (tokens), each layer for itself."""
    total = 0
    for layer in logits:
        probabilities = torch.softmax(layer.float(), dim=-1)
        tokens, experts = probabilities.shape
        chosen = torch.zeros_like(probabilities).scatter_(1, probabilities.topk(topk, dim=-1).indices, 1.0)
        total = total + coefficient * experts / (topk * tokens * tokens) * (probabilities.sum(0) * chosen.sum(0)).sum()
    return total


def main():
    parser = argparse.ArgumentParser(description="The same training run in PyTorch.")
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--program", default="build/cpu/conclave")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    import torch
    import transformers

    options = read_options(args.run / "options.yaml")
    lines = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    ours = {line["iteration"]: line["lm_loss"] for line in lines if line["kind"] == "train"}
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager")
    model.train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": options["weight-decay"]}, {"params": plain, "weight_decay": 0.0}],
        betas=(options["adam-beta1"], options["adam-beta2"]), eps=options["adam-eps"])
    micro, files, rows, largest = options["micro-batch-size"], {}, [], 0.0
    coefficient = options["moe-aux-loss-coeff"][0] if options["num-experts"] else 0.0
    for step in range(1, max(ours) + 1):
        batch = torch.tensor(samples_of(args.program, str(args.run), step, files))
        parts = batch.split(micro)
        loss_sum = 0.0
        for part in parts:
            result = model(input_ids=part[:, :-1], use_cache=False, output_router_logits=coefficient > 0)
            loss = torch.nn.functional.cross_entropy(result.logits.flatten(0, 1), part[:, 1:].flatten())
            loss_sum += loss.item()
            if coefficient > 0:
                loss = loss + balancing_loss(torch, result.router_logits, options["moe-router-topk"], coefficient)
            (loss / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options["clip-grad"])
        for group in optimizer.param_groups:
            group["lr"] = rate(options, (step - 1) * options["global-batch-size"])
        optimizer.step()
        optimizer.zero_grad()
        theirs = loss_sum / len(parts)
        largest = max(largest, abs(theirs - ours[step]))
        rows.append(f"{step},{ours[step]:.7f},{theirs:.7f}")
        if step % 50 == 0 or step == 1:
            print(f"step {step}: {ours[step]:.6f} here, {theirs:.6f} in PyTorch, largest difference so far {largest:.2e}",
                  flush=True)
    if args.out:
        args.out.write_text("step,conclave,pytorch\n" + "\n".join(rows) + "\n")
    print(f"{len(rows)} steps, largest difference {largest:.3e}")


if __name__ == "__main__":
    main()
