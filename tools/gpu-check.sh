#!/usr/bin/env bash
# What to run on a machine with a GPU: tools/gpu-check.sh [FOLDER OF THE BUILD] [FOLDER FOR LOGS] [STEPS]
# Every op case on the GPU, the golden cases, a short training and one of 200 steps of the demo's model whose losses must be the
# CPU's. Prints a summary last. CONCLAVE_SANITIZER=FILTER puts the op cases of that filter (googletest's) under compute-sanitizer's
# memcheck and racecheck as well; '*' takes long.
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

# demo DEVICE DTYPE SEED: 200 steps of the demo's model on this repository's own text.
demo() {
  rm -rf "$logs/run_demo_$1_$2_$3"
  local precision=()
  [ "$2" = f32 ] || precision=(--bf16)
  timeout 200 "$conclave" train --config "$root/configs/demo.yaml" --data-path "$logs/text_text_document" --split 1,0,0 \
    --train-iters 200 --lr-decay-iters 200 --eval-iters 0 --log-interval 1 --seed "$3" --device "$1" --save "$logs/run_demo_$1_$2_$3" \
    "${precision[@]}"
  local status=$?
  rm -rf "$logs/run_demo_$1_$2_$3"/iter_*
  return $status
}

# The CPU's runs that the GPU's are held against: f32, and three seeds of bf16.
demo_on_cpu() {
  "$conclave" preprocess --input "$root"/docs/*.md --tokenizer-type ByteTokenizer --append-eod --output-prefix "$logs/text" || return
  demo cpu f32 1 && demo cpu bf16 1 && demo cpu bf16 2 && demo cpu bf16 3
}

# demo_curve: each loss in f32 within 1e-4 of the CPU's.
demo_curve() {
  join <(losses "$logs/run_demo_cpu_f32_1" | sort) <(losses "$logs/run_demo_cuda_f32_1" | sort) | sort -n |
    awk '{ off = ($3 - $2) / $2; if (off < 0) off = -off; if (off > most) { most = off; at = $1 } if ($1 % 20 == 0) print $0, off; n++ }
      END { print "largest difference " most + 0 " at iteration " at + 0 " of " n + 0; exit !(n == 200 && most <= 1e-4) }'
}

# demo_band: bf16, the mean of the last 20 losses inside the CPU's three seeds', or as far outside as they are apart.
demo_band() {
  for run in cpu_bf16_1 cpu_bf16_2 cpu_bf16_3 cuda_bf16_1; do losses "$logs/run_demo_$run" | tail -n 20 | awk -v run=$run '{ s += $2 } END { print run, s / NR }'; done |
    awk '{ print } /^cpu/ { if (!n++ || $2 < low) low = $2; if ($2 > high) high = $2 } /^cuda/ { value = $2 }
      END { exit !(n == 3 && value >= low - (high - low) && value <= high + (high - low)) }'
}

# sanitized TOOL: the op cases of CONCLAVE_SANITIZER.
sanitized() {
  timeout "${CONCLAVE_SANITIZER_SECONDS:-600}" compute-sanitizer --tool "$1" --error-exitcode 9 "$build/tests/kernels_test" --gtest_brief=1 \
    --gtest_filter="$CONCLAVE_SANITIZER"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
demo_on_cpu >"$logs/demo_on_cpu.log" 2>&1 &
demo_runs=$!
step device timeout 150 "$build/tests/device_test" --gtest_filter='CudaDeviceTest.*'
step op_cases op_cases
step golden_router timeout 150 "$conclave" golden "$root/tests/golden/router" --device cuda
step golden_model timeout 150 "$conclave" golden "$root/tests/golden/model" --device cuda
step train_cpu_f32 train cpu f32
step train_cuda_f32 train cuda f32
step same_losses_f32 same_losses f32 1e-4
step train_cuda_bf16 train cuda bf16
step bench_step timeout 150 "$conclave" bench step --config "$root/configs/bench_small_moe.yaml" --device cuda --bf16
step demo_cuda_f32 demo cuda f32 1
step demo_cuda_bf16 demo cuda bf16 1
if command -v mpirun >/dev/null && [ -x "$build/tests/comm_ranks" ]; then step layouts "$root/tools/gpu-layouts.sh" "$build" "$logs/layouts"; fi
step demo_cpu wait $demo_runs
step demo_curve demo_curve
step demo_band demo_band
if [ -n "${CONCLAVE_SANITIZER:-}" ]; then
  step memcheck sanitized memcheck
  step racecheck sanitized racecheck
fi
echo "== device"
grep -E 'FAILED|Failure|error|Expected|actual|PASSED' "$logs/device.log" | head -40
echo "== op_cases"
sort "$logs/op_cases.log"
grep -hE 'gtest_filter=|C\+\+ exception|cuda\]|no CUDA form' "$logs"/op_*.log | sort | uniq -c | sort -rn | cut -c 1-400 | head -120
for name in golden_router golden_model train_cuda_f32 same_losses_f32 train_cuda_bf16 bench_step demo_curve demo_band memcheck racecheck; do
  [ -e "$logs/$name.log" ] || continue
  echo "== $name"
  tail -n 30 "$logs/$name.log"
done
printf '%s\n' "${summary[@]}"
[ "$bad" = 0 ]
