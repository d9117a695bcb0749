#!/usr/bin/env bash
# Without root: unpacks the packages of tools/apt-packages.txt that this Debian or Ubuntu machine lacks, with the libraries they need,
# into a folder, and prints the line that makes the build use it. A C++20 compiler (g++ or clang++) must be there already.
#
#     tools/unpack-packages.sh ~/conclave-packages [PACKAGE...]
#
# More names may be given; with --all even packages that are installed are unpacked.
set -euo pipefail

list=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/apt-packages.txt

die() { printf 'unpack-packages: %s\n' "$*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# What is asked for: the list's packages without a tag that are missing, never the compiler.
wanted() {
  local name
  for name in $(awk '{ sub(/#.*/, "") } NF == 1 && $1 != "g++" { print $1 }' "$list"); do
    [ "$all" = yes ] || ! installed "$name" || continue
    echo "$name"
  done
  printf '%s\n' "$@"
}

# apt-get with its state in our folder: nothing of the system is touched, so no root is needed.
apt() {
  apt-get -q -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o Dir::State::status="$dir/apt/status" \
    -o Debug::NoLocking=1 -o APT::Sandbox::User= "$@"
}

# Everything the wanted packages need, but for the C library, the compiler's runtime and installed programs. Libraries that are
# installed come too: a -dev package points at its library by a relative link.
closure() {
  local name core='^(libc6|libc6-dev|libc-dev-bin|linux-libc-dev|libgcc-s1|libstdc\+\+6|libgomp1|libcrypt.*|libnsl.*|libtirpc.*|usrmerge|dpkg|tar)$'
  for name in $(apt -s install --no-install-recommends "$@" | awk '/^Inst/ { print $2 }'); do
    [[ $name =~ $core ]] && continue
    [[ $name == lib* ]] || [ "$all" = yes ] || ! installed "$name" || continue
    echo "$name"
  done
}

# Links that name an absolute path mean the folder, not the system.
relink() {
  local link target
  if [ -d "$dir/lib" ] && [ ! -L "$dir/lib" ]; then
    cp -a "$dir/lib/." "$dir/usr/lib/"
    rm -r "$dir/lib"
    ln -s usr/lib "$dir/lib"
  fi
  find "$dir" -type l | while read -r link; do
    target=$(readlink "$link")
    [[ $target != /* ]] || [ ! -e "$dir$target" ] || ln -sfn "$dir$target" "$link"
  done
}

main() {
  all=no
  dir=
  local more=() word names
  for word in "$@"; do
    case $word in
      --all) all=yes ;;
      -*) die "unknown option $word" ;;
      *) if [ -z "$dir" ]; then dir=$word; else more+=("$word"); fi ;;
    esac
  done
  [ -n "$dir" ] || die "usage: tools/unpack-packages.sh DIR [PACKAGE...]"
  command -v apt-get >/dev/null || die "needs apt-get, so a Debian or Ubuntu machine; docs/install.md says what to do elsewhere"
  command -v c++ >/dev/null || command -v g++ >/dev/null || die "needs a C++20 compiler on PATH (g++ 12 or newer); this does not unpack one"

  names=$(wanted ${more[@]+"${more[@]}"})
  [ -n "$names" ] || { echo "Nothing is missing."; exit 0; }
  mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/apt/debs"
  dir=$(cd "$dir" && pwd)
  : >"$dir/apt/status"
  echo "Reading the lists of packages"
  apt update >/dev/null
  names=$(closure $names)
  echo "Fetching $(wc -w <<<"$names") packages"
  (cd "$dir/apt/debs" && apt download $names >/dev/null)
  for word in "$dir"/apt/debs/*.deb; do dpkg -x "$word" "$dir"; done
  relink
  rm -rf "$dir/apt"
  echo "Unpacked into $dir. Now, and in every shell that builds:"
  echo "    export CMAKE_PREFIX_PATH=$dir/usr"
}

main "$@"
