#!/usr/bin/env bash
# make_venv.sh PYTHON FOLDER: a virtual environment with a pip that knows dependency groups.
set -euo pipefail

python=$1 folder=$2
here=$(dirname "$0")

# Debian and Ubuntu ship venv's ensurepip in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$here/need.sh" "ensurepip of Python $version" "python$version-venv" python3-venv
fi
"$python" -m venv "$folder"
"$folder/bin/python" -m pip --disable-pip-version-check -q install --upgrade -c "$here/../constraints.txt" pip
