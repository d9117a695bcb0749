#!/usr/bin/env bash
# Writes English text to FILE, documents separated by blank lines, and says where it comes from.
#
#     tools/demo-text.sh FILE
#
# With the package bible-kjv: the King James Bible, one document a chapter. Without: this project's own pages and sources.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:?usage: tools/demo-text.sh FILE}

# "Ge1:2 And the earth ..." becomes "And the earth ..."; a blank line where the chapter changes.
bible_text() {
  TERM=dumb bible -f 'gen1:1-rev22:21' </dev/null 2>/dev/null | awk '
    { split($1, place, ":"); sub(/^[^ ]+ /, "") }
    place[1] != chapter && NR > 1 { print "" }
    { chapter = place[1]; print }'
}

own_text() {
  local file
  for file in "$root"/*.md "$root"/docs/*.md "$root"/src/*/*.md $(find "$root/src" -name '*.h' -o -name '*.cpp' | sort); do
    cat "$file"
    printf '\n\n'
  done
}

if command -v bible >/dev/null && bible_text >"$out" && [ "$(wc -c <"$out")" -gt 1000000 ]; then
  echo "the King James Bible (package bible-kjv)"
else
  own_text >"$out"
  echo "this project's own pages and sources (the package bible-kjv is not here)"
fi
