#!/usr/bin/env bash
# Whole training steps on a GPU, ours and the Python stacks' by turns: tools/gpu-bench.sh [FOLDER OF THE BUILD] [FOLDER FOR LOGS]
# CONCLAVE_PEERS: which stacks run beside ours (bench/peers/moe_step_gpu.py; default "titan-f32 hf", empty: none); titan needs
# TITAN, a checkout of torchtitan. Logs and Chrome traces stay in the folder.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:-$root/build/cuda}" && pwd)
mkdir -p "${2:-$root/build/gpu-bench}"
logs=$(cd "${2:-$root/build/gpu-bench}" && pwd)
peers=${CONCLAVE_PEERS-titan-f32 hf}

# ours NAME CONFIG [OPTIONS]
ours() {
  local name=$1 config=$2
  shift 2
  echo "== ours: $name"
  timeout 120 "$build/conclave" bench step --device cuda --config "$root/configs/$config.yaml" --min-seconds 3 --trace "$logs/$name.json" "$@" \
    >"$logs/$name.log" 2>&1 || echo "ended with $?"
  grep -v '^\[' "$logs/$name.log" | cut -c 1-160
}

# peer MODEL [OPTIONS]
peer() {
  local stack
  for stack in $peers; do
    timeout 150 python3 "$root/bench/peers/moe_step_gpu.py" "$1" "$stack" "${@:2}" >"$logs/peer_$1_$stack.log" 2>&1 ||
      { echo "peer $1 $stack ended with $?"; tail -n 3 "$logs/peer_$1_$stack.log"; }
    grep '^peer' "$logs/peer_$1_$stack.log"
  done
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
ours mixtral bench_mixtral_8x7b_2
peer mixtral
ours qwen3 bench_qwen3_30b_a3b_6
peer qwen3
ours qwen3_small_vocabulary bench_qwen3_30b_a3b_6 --vocab-size 18992
ours mixtral_accumulate_4 bench_mixtral_8x7b_2 --global-batch-size 16
ours qwen3_accumulate_4 bench_qwen3_30b_a3b_6 --global-batch-size 16
ours small bench_small_moe --bf16
