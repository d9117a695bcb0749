#!/usr/bin/env bash
# Draws a training run as an SVG: loss of each logged step, validation loss, and how the tokens spread over the experts.
#
#     tools/plot-run.sh RUN OUT.svg [BAR LABEL]
#
# RUN is a run's directory (or its metrics.jsonl); BAR is a loss to draw as a line, e.g. that of `conclave ngram`.
set -euo pipefail

run=${1:?usage: tools/plot-run.sh RUN OUT.svg [BAR LABEL]}
out=${2:?usage: tools/plot-run.sh RUN OUT.svg [BAR LABEL]}
[ -d "$run" ] && run=$run/metrics.jsonl

awk -v bar="${3:-}" -v bar_label="${4:-}" '
  # Value of a key of a flat JSON object; empty if it is not there.
  function value(key,    rest) {
    if (!match($0, "\"" key "\":")) return ""
    rest = substr($0, RSTART + RLENGTH)
    match(rest, /^("[^"]*"|\[[^]]*\]|[^,}]*)/)
    rest = substr(rest, 1, RLENGTH)
    gsub(/"/, "", rest)
    return rest
  }
  function px(iteration) { return left + (iteration - 0) / last * width }
  function py(loss) { return top + (high - loss) / (high - low) * height }
  function text(x, y, anchor, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, words
  }
  function line(x1, y1, x2, y2, style) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style
  }
  value("kind") == "train" && value("lm_loss") != "" { train[value("iteration") + 0] = value("lm_loss") + 0 }
  value("kind") == "eval" && value("split") == "valid" { valid[value("iteration") + 0] = value("lm_loss") + 0 }
  value("kind") == "experts" { load[value("iteration") + 0, value("layer") + 0] = value("tokens"); seen[value("layer") + 0] = value("iteration") + 0 }
  END {
    left = 60; top = 40; width = 700; height = 300; low = 1e9; high = -1e9; last = 1
    for (i in train) { if (i + 0 > last) last = i + 0; if (train[i] < low) low = train[i]; if (train[i] > high) high = train[i] }
    for (i in valid) { if (i + 0 > last) last = i + 0; if (valid[i] < low) low = valid[i] }
    if (high < low) { print "plot-run: no training step in the metrics" > "/dev/stderr"; exit 1 }
    if (bar != "" && bar < low) low = bar
    low = int(low * 4 - 0.5) / 4; high = int(high * 4 + 1) / 4
    layers = 0; for (l in seen) if (l + 1 > layers) layers = l + 1
    total = top + height + 70 + (layers > 0 ? layers * 22 + 50 : 0)
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 %d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n", total
    printf "<rect width=\"800\" height=\"%d\" fill=\"#fff\"/>\n", total
    step = (high - low) / 6; step = step > 0.5 ? 1 : step > 0.25 ? 0.5 : 0.25
    for (y = low; y <= high + 1e-9; y += step) {
      line(left, py(y), left + width, py(y), "stroke=\"#e5e5e5\""); text(left - 8, py(y) + 4, "end", sprintf("%.2f", y))
    }
    for (k = 0; k <= 5; ++k) text(px(last * k / 5), top + height + 18, "middle", int(last * k / 5))
    text(left + width / 2, top + height + 38, "middle", "step"); text(left, top - 16, "start", "loss, nats a token")
    if (bar != "") {
      line(left, py(bar), left + width, py(bar), "stroke=\"#888\" stroke-dasharray=\"6 4\"")
      text(left + width - 4, py(bar) - 6, "end", bar_label " " sprintf("%.3f", bar))
    }
    printf "<polyline fill=\"none\" stroke=\"#4c78a8\" stroke-width=\"1.5\" points=\""
    for (i = 0; i <= last; ++i) if (i in train) printf "%.1f,%.1f ", px(i), py(train[i])
    printf "\"/>\n"
    for (i = 0; i <= last; ++i) if (i in valid) printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#e45756\"/>\n", px(i), py(valid[i])
    line(left + 470, top - 20, left + 495, top - 20, "stroke=\"#4c78a8\" stroke-width=\"2\""); text(left + 500, top - 16, "start", "training")
    printf "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"#e45756\"/>\n", left + 580, top - 20; text(left + 590, top - 16, "start", "validation")
    if (layers > 0) text(left, top + height + 72, "start", "share of the tokens by layer and expert at the last logged step (darker: more)")
    row = 0
    for (l = 0; l < layers; ++l) if (l in seen) {
      list = load[seen[l], l]; gsub(/[\[\] ]/, "", list); n = split(list, tokens, ","); sum = 0
      for (e = 1; e <= n; ++e) sum += tokens[e]
      y = top + height + 84 + row++ * 22
      text(left - 8, y + 14, "end", "layer " l)
      for (e = 1; e <= n; ++e) {
        share = sum > 0 ? tokens[e] / sum : 0; shade = share * n / 2; if (shade > 1) shade = 1
        printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"20\" fill=\"#4c78a8\" fill-opacity=\"%.2f\"/>\n", left + (e - 1) * width / n, y, width / n - 2, shade
        if (n <= 16) printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"%s\">%.1f%%</text>\n", left + (e - 0.5) * width / n - 1, y + 14, (shade > 0.6 ? "#fff" : "#333"), 100 * share
      }
    }
    print "</svg>"
  }' "$run" >"$out"
