#!/usr/bin/env bash
# Several ranks on GPUs over NCCL: tools/gpu-layouts.sh [FOLDER OF THE BUILD] [FOLDER FOR LOGS]
# Every collective against plain loops, then layouts against one process (losses, every gradient, every weight), then a checkpoint
# of one layout that another goes on from. One GPU is enough: ranks that share it pass for ranks of different machines.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:-$root/build/cuda}" && pwd)
mkdir -p "${2:-$root/build/gpu-layouts}"
logs=$(cd "${2:-$root/build/gpu-layouts}" && pwd)
config=$root/configs/gpu_layouts.yaml
common="--config $config --device cuda --mock-data --tokenizer-type NullTokenizer --distributed-timeout-minutes 1"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=2
gpus=$(nvidia-smi -L 2>/dev/null | wc -l)
bad=0

# ranks N COMMAND...: a process each.
ranks() {
  local count=$1 name=
  shift
  [ "$count" -le "$gpus" ] || { name=$(hostname); export NCCL_SOCKET_IFNAME=lo; }
  # shellcheck disable=SC2016
  timeout 90 mpirun --oversubscribe --bind-to none -np "$count" sh -c \
    '[ -z "$0" ] || export NCCL_HOSTID=$0-$OMPI_COMM_WORLD_RANK; exec "$@"' "$name" "$@" </dev/null
}

# tell LOG STATUS WHAT PATTERN: one line of what came out.
tell() {
  [ "$2" = 0 ] || bad=$((bad + 1))
  printf '%-6s %s: %s\n' "$([ "$2" = 0 ] && echo ok || echo FAILED)" "$3" "$(grep -aE "$4|conclave:" "$1" | tail -1 | cut -c 1-200)"
}

for count in 2 3; do
  for mode in "" checked; do
    ranks $count "$build/tests/comm_ranks" cases $mode cuda >"$logs/cases_$count$mode" 2>&1
    tell "$logs/cases_$count$mode" $? "collectives of $count ranks $mode" "rank 0 of"
  done
done

number=0
while read -r count layout; do
  number=$((number + 1))
  # shellcheck disable=SC2086
  ranks "$count" "$build/conclave" verify-layout $common $layout >"$logs/layout_$number" 2>&1
  tell "$logs/layout_$number" $? "$count ranks $layout" "the layout trains|NOT the same"
done <<'LAYOUTS'
2
2 --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather
2 --tensor-model-parallel-size 2 --sequence-parallel
2 --pipeline-model-parallel-size 2
2 --expert-model-parallel-size 2 --moe-token-dispatcher-type allgather
2 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall
2 --expert-model-parallel-size 2 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep
2 --expert-model-parallel-size 2 --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep
2 --context-parallel-size 2
2 --context-parallel-size 2 --cp-comm-type a2a
2 --context-parallel-size 2 --cp-comm-type all_gather
2 --bf16 --use-distributed-optimizer --expert-model-parallel-size 2
4 --pipeline-model-parallel-size 4
4 --tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 2 --expert-model-parallel-size 2 --expert-tensor-parallel-size 1 --use-distributed-optimizer
4 --pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 1 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall
4 --context-parallel-size 4 --expert-model-parallel-size 2
4 --tensor-model-parallel-size 2 --sequence-parallel --expert-model-parallel-size 4 --expert-tensor-parallel-size 1 --moe-token-dispatcher-type flex
LAYOUTS

# losses FOLDER: those of iterations 5 and 6.
losses() { sed -n 's/.*"kind":"train","iteration":\([56]\),.*"lm_loss":\([^,]*\).*/\1 \2/p' "$1/metrics.jsonl"; }
rm -rf "$logs/run" "$logs/run2"
# shellcheck disable=SC2086
{
  ranks 2 "$build/conclave" train $common --log-interval 1 --train-iters 4 --lr-decay-iters 6 --expert-model-parallel-size 2 --save "$logs/run" &&
    cp -r "$logs/run" "$logs/run2" &&
    ranks 2 "$build/conclave" train $common --log-interval 1 --train-iters 6 --lr-decay-iters 6 --expert-model-parallel-size 2 --load "$logs/run" --save "$logs/run" &&
    ranks 2 "$build/conclave" train $common --log-interval 1 --train-iters 6 --lr-decay-iters 6 --pipeline-model-parallel-size 2 --load "$logs/run2" --save "$logs/run2" &&
    [ "$(losses "$logs/run" | wc -l)" = 2 ] &&
    paste <(losses "$logs/run") <(losses "$logs/run2") | awk '{ print; d = $2 - $4; if (d > 1e-5 * $2 || d < -1e-5 * $2) bad = 1 } END { exit bad }'
} >"$logs/checkpoint" 2>&1
tell "$logs/checkpoint" $? "a checkpoint of EP 2 goes on as PP 2" "^6 "

[ "$bad" = 0 ] && echo "all as they should be"
exit "$bad"
