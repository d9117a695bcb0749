#!/usr/bin/env bash
# What to run on a machine with a GPU: tools/gpu-check.sh [FOLDER OF THE BUILD] [FOLDER FOR LOGS] [STEPS]
# Every op case on the GPU, the golden cases, and a short training whose losses must be the CPU's. Prints a summary last.
# CONCLAVE_SANITIZER=1 puts the op cases under compute-sanitizer's memcheck and racecheck as well (minutes).
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:-$root/build/cuda}" && pwd)
mkdir -p "${2:-$root/build/gpu-check}"
logs=$(cd "${2:-$root/build/gpu-check}" && pwd)
steps=${3:-20}
conclave=$build/conclave
summary=()
bad=0

# step NAME COMMAND...: its output goes to a log, its end to the summary.
step() {
  local name=$1 begin=$SECONDS status=0
  shift
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  [ "$status" = 0 ] || bad=$((bad + 1))
  summary+=("$(printf '%-24s %s, %d s' "$name" "$([ "$status" = 0 ] && echo ok || echo "FAILED ($status)")" $((SECONDS - begin)))")
}

# losses FOLDER: the loss of each iteration of a run.
losses() { sed -n 's/.*"kind":"train","iteration":\([0-9]*\).*"lm_loss":\([^,]*\).*/\1 \2/p' "$1/metrics.jsonl"; }

# train DEVICE DTYPE
train() {
  rm -rf "$logs/run_$1_$2"
  local precision=()
  [ "$2" = f32 ] || precision=(--bf16)
  timeout 150 "$conclave" train --config "$root/configs/bench_small_moe.yaml" --mock-data --train-iters "$steps" --lr 1e-3 --log-interval 1 \
    --eval-iters 0 --device "$1" --save "$logs/run_$1_$2" "${precision[@]}"
  local status=$?
  rm -rf "$logs/run_$1_$2"/iter_*
  return $status
}

# same_losses DTYPE TOLERANCE: relative, at every iteration.
same_losses() {
  join <(losses "$logs/run_cpu_$1" | sort) <(losses "$logs/run_cuda_$1" | sort) | sort -n |
    awk -v tolerance="$2" -v steps="$steps" '{ off = ($3 - $2) / $2; if (off < 0) off = -off; print $0, off; if (!(off <= tolerance)) bad = 1; n++ }
      END { if (n != steps) { print n + 0 " iterations to compare"; bad = 1 } exit bad }'
}

# One process per family of ops: an error of the GPU ends the process that met it and no other.
op_cases() {
  "$build/tests/kernels_test" --gtest_list_tests --gtest_filter='*MatchesReferenceOnGpu*' | sed -n 's/^\([A-Za-z0-9_]*\)\/OpCheck\.$/\1/p' |
    xargs -P "${CONCLAVE_JOBS:-8}" -I{} sh -c \
      'timeout 200 "$0" --gtest_brief=1 --gtest_filter="{}/OpCheck.MatchesReferenceOnGpu*" >"$1/op_{}.log" 2>&1; status=$?; grep -h "PASSED\|FAILED TEST\|SKIPPED  \]" "$1/op_{}.log" | sed "s/^/{} /"; [ $status = 0 ] || echo "{} ended with $status"; exit $status' \
      "$build/tests/kernels_test" "$logs"
}

# sanitized TOOL: the op cases of everything but the largest products.
sanitized() {
  compute-sanitizer --tool "$1" --error-exitcode 9 "$build/tests/kernels_test" --gtest_brief=1 --gtest_filter='*MatchesReferenceOnGpu*'
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
step device timeout 150 "$build/tests/device_test" --gtest_filter='CudaDeviceTest.*'
step op_cases op_cases
step golden_router timeout 150 "$conclave" golden "$root/tests/golden/router" --device cuda
step golden_model timeout 150 "$conclave" golden "$root/tests/golden/model" --device cuda
step train_cpu_f32 train cpu f32
step train_cuda_f32 train cuda f32
step same_losses_f32 same_losses f32 1e-4
step train_cuda_bf16 train cuda bf16
step bench_step timeout 150 "$conclave" bench step --config "$root/configs/bench_small_moe.yaml" --device cuda --bf16
if [ "${CONCLAVE_SANITIZER:-}" = 1 ]; then
  step memcheck sanitized memcheck
  step racecheck sanitized racecheck
fi
echo "== device"
grep -E 'FAILED|Failure|error|Expected|actual|PASSED' "$logs/device.log" | head -40
echo "== op_cases"
sort "$logs/op_cases.log"
grep -hE 'gtest_filter=|C\+\+ exception|cuda\]|no CUDA form' "$logs"/op_*.log | sort | uniq -c | sort -rn | cut -c 1-400 | head -120
for name in golden_router golden_model train_cuda_f32 same_losses_f32 train_cuda_bf16 bench_step; do
  echo "== $name"
  tail -n 30 "$logs/$name.log"
done
printf '%s\n' "${summary[@]}"
[ "$bad" = 0 ]
