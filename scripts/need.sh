#!/usr/bin/env bash
# need.sh COMMAND PACKAGE...: installs the first of the Debian packages that exists, unless COMMAND is there already.
set -euo pipefail

command=$1
shift
command -v "$command" >/dev/null && exit 0

if ! command -v apt-get >/dev/null; then
  echo "need.sh: '$command' is missing and this is no Debian or Ubuntu: please install it" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
export DEBIAN_FRONTEND=noninteractive

# A fresh machine has no package lists at all, and stale ones name versions that are gone.
install() { "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$1" >/dev/null; }
"${as_root[@]}" apt-get update -qq
for package in "$@"; do
  if apt-cache show "$package" >/dev/null 2>&1; then
    echo "need.sh: installing $package for '$command'"
    install "$package"
    exit 0
  fi
done
echo "need.sh: '$command' is missing and none of these packages exists here: $*" >&2
exit 1
