"""Measures the small MoE of configs/bench_small_moe.yaml against bench/peers/small_moe_cpu.py, by turns, and prints the tables of
bench/results/small_moe.md. The peer needs PyTorch and Transformers in the Python that runs this.

    OMP_NUM_THREADS=2 python3 bench/small_moe.py [--program build/cpu/conclave] [--rounds N] [--seconds S] [--only speed|growth|course]
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = os.path.join(ROOT, "configs", "bench_small_moe.yaml")
PEER = os.path.join(ROOT, "bench", "peers", "small_moe_cpu.py")
SMALL = ["--num-layers", "2", "--hidden-size", "64", "--num-attention-heads", "2", "--moe-ffn-hidden-size", "128", "--ffn-hidden-size", "128",
         "--vocab-size", "1024", "--seq-length", "128", "--micro-batch-size", "4", "--global-batch-size", "4"]


def run(command):
    """Output and peak resident bytes of a command."""
    done = subprocess.run(["/usr/bin/time", "-f", "resident %M", *command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout, int(re.search(r"resident (\d+)", done.stderr).group(1)) * 1024


def ours(options, extra):
    out, resident = run([options.program, "bench", "step", "--config", CONFIG, "--json", "--min-seconds", str(options.seconds), *extra])
    report = json.loads(out)
    row = report["rows"][0]
    row["resident"] = resident
    row["share"] = row["flops"] / row["median_seconds"] / report["bf16_ceiling_flops" if "--bf16" in extra else "f32_ceiling_flops"]
    return row


def peer(dtype, eager):
    out, resident = run([sys.executable, PEER, "--dtype", dtype, *(["--eager"] if eager else [])])
    row = json.loads(out.strip().splitlines()[-1])
    row["resident"] = resident
    return row


def fastest(rows):
    return max(rows, key=lambda row: row["tokens_per_second"])


def speed(options):
    print("| dtype | program | tokens/s | median ms | best ms | processor ms a step | of product ceiling | peak resident |\n|---|---|---|---|---|---|---|---|")
    for dtype, extra in (("f32", []), ("bf16", ["--bf16"])):
        mine, compiled, eager = [], [], []
        for _ in range(options.rounds):
            mine.append(ours(options, extra))
            compiled.append(peer("float32" if dtype == "f32" else "bfloat16", False))
            mine.append(ours(options, extra))
            eager.append(peer("float32" if dtype == "f32" else "bfloat16", True))
        best = {"conclave": fastest(mine), "peer, compiled": fastest(compiled), "peer, eager": fastest(eager)}
        for name, row in best.items():
            share = f"{100 * row['share']:.0f} %" if "share" in row else ""
            print(f"| {dtype} | {name} | {row['tokens_per_second']:,.0f} | {1e3 * row['median_seconds']:.0f} | {1e3 * row['best_seconds']:.0f} | "
                  f"{1e3 * row['processor_seconds']:.0f} | "
                  f"{share} | {row['resident'] / 1e9:.2f} GB |")
        rate = best["conclave"]["tokens_per_second"] / max(row["tokens_per_second"] for name, row in best.items() if name != "conclave")
        print(f"| {dtype} | **conclave / best peer** | **{rate:.2f}** | | | | | |", flush=True)


def growth(options):
    print("| change | median ms before | after | ratio |\n|---|---|---|---|")
    base = ours(options, [])["median_seconds"]
    for name, extra in (("12 layers for 6", ["--num-layers", "12"]),
                        ("twice the tokens", ["--micro-batch-size", "16", "--global-batch-size", "16"]),
                        ("32 experts for 16, top-2 as before", ["--num-experts", "32"])):
        after = ours(options, extra)["median_seconds"]
        again = ours(options, [])["median_seconds"]
        before = min(base, again)
        print(f"| {name} | {1e3 * before:.0f} | {1e3 * after:.0f} | {after / before:.2f} |", flush=True)


def course(options):
    print("| dtype | steps | first tenth, median ms | middle | last | oneDNN primitives made after the first tenth |\n|---|---|---|---|---|---|")
    for dtype, extra in (("f32", []), ("bf16", ["--bf16"])):
        options.seconds = 20
        row = ours(options, SMALL + extra)
        print(f"| {dtype} | {row['calls']} | {1e3 * row['first_tenth_seconds']:.2f} | {1e3 * row['middle_tenth_seconds']:.2f} | "
              f"{1e3 * row['last_tenth_seconds']:.2f} | {row['primitives_made']} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "cpu", "conclave"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", choices=["speed", "growth", "course"])
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    print(time.strftime("%Y-%m-%d %H:%M"), "load", os.getloadavg()[0], flush=True)
    for part in (speed, growth, course):
        if options.only in (None, part.__name__):
            part(options)


if __name__ == "__main__":
    main()
