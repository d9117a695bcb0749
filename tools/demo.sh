#!/usr/bin/env bash
# The demo behind `./run demo`: text, tokens, a bar to clear, a training run that stops and resumes, generated text.
# Everything lies in runs/demo, made anew each time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
conclave=build/cpu/conclave
work=runs/demo
run=$work/run
split=97,3,0
began=$SECONDS

step() { printf '\n== %s\n' "$*"; }
# Prints a command as a person would type it, then runs it.
show() {
  local word line="./run conclave"
  for word in "$@"; do [[ $word == *" "* ]] && line+=" \"$word\"" || line+=" $word"; done
  printf '$ %s\n' "$line"
  "$conclave" "$@"
}
# The last number under KEY in the lines of FILE that hold WORD.
last_number() { sed -n "/$2/s/.*\"$3\":\([-0-9.e+]*\).*/\1/p" "$1" | tail -1; }

prepare() {
  step "Text: $(tools/demo-text.sh $work/text.txt), $(($(wc -c <$work/text.txt) / 1024)) KiB"
  show preprocess --input $work/text.txt --output-prefix $work/data --tokenizer-type ByteTokenizer --append-eod
  step "The bar: a smoothed 3-gram model (two bytes of context) on the same data and split"
  show ngram --data-path $work/data_text_document --split $split
  bar=$("$conclave" ngram --data-path $work/data_text_document --split $split --json | sed 's/.*"valid":{[^}]*"loss":\([0-9.]*\).*/\1/')
}

train() {
  local words=(train --config configs/demo.yaml --data-path $work/data_text_document --split $split --save $run --load $run)
  step "Training a Mixture of 8 experts a layer; this process ends in the middle, as a job at its time limit would"
  show "${words[@]}" --exit-interval 250
  step "The same command goes on from the checkpoint, to the same bits as without the break"
  show "${words[@]}"
}

generate() {
  step "Text from it"
  show generate --load $run --prompt "And it came to pass, " --max-new-tokens 220 --temperature 0.6 --seed 7
}

# One row for each layer, one column for each expert: share of the tokens at the last logged step.
expert_load() {
  grep '"kind":"experts"' $run/metrics.jsonl | awk '
    { match($0, /"layer":[0-9]+/); layer = substr($0, RSTART + 8, RLENGTH - 8)
      match($0, /"tokens":\[[^]]*/); tokens[layer] = substr($0, RSTART + 10, RLENGTH - 10) }
    END { for (l = 0; l < 1000; ++l) if (l in tokens) {
        n = split(tokens[l], t, ","); sum = 0
        for (e = 1; e <= n; ++e) sum += t[e]
        printf "  layer %d  ", l
        for (e = 1; e <= n; ++e) printf "%6.1f%%", 100 * t[e] / (sum ? sum : 1)
        print "" } }'
}

summary() {
  local loss
  loss=$(last_number $run/metrics.jsonl '"kind":"eval".*"split":"valid"' lm_loss)
  tools/plot-run.sh $run $work/run.svg "$bar" "3-gram model"
  step "Result"
  printf '  %-46s %.4f nats a byte\n' "3-gram model, whole validation split" "$bar" "this MoE, whole validation split" "$loss"
  printf '  share of the tokens each expert got, last logged step\n'
  expert_load
  printf '  picture: %s    all numbers: %s\n' $work/run.svg $run/metrics.jsonl
  printf '  %d seconds in all\n' $((SECONDS - began))
  awk -v a="$loss" -v b="$bar" 'BEGIN { exit !(a < b) }' || { echo "demo: the model did not get below the 3-gram model" >&2; exit 1; }
}

what_next() {
  cat <<NEXT

== What to try next
  ./run conclave generate --load $run                        a prompt of your own (end with Ctrl-D)
  ./run conclave train --config configs/demo.yaml --data-path $work/data_text_document --save runs/longer --train-iters 3000
  ./run conclave inspect $run                                what is in the checkpoint and the run
  ./run conclave preprocess --input YOUR.txt --output-prefix runs/mine --tokenizer-type ByteTokenizer --append-eod
  configs/demo.yaml is short: change experts, top-k or the balancing loss; docs/options.md lists every option, docs/walk.md the way of a token
NEXT
}

rm -rf $work
mkdir -p $work
prepare
train
generate
summary
what_next
