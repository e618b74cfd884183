#!/usr/bin/env bash
# constraints.sh PYTHON: writes constraints.txt from the newest versions of everything that the Makefile installs.
# PYTHON should be the oldest that Skysail supports: what runs there runs on the newer ones too.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$1" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check -q)
"${pip[@]}" install --upgrade pip
# async-timeout: redis-py asks for it on Python before 3.11.3, which may not be the one that runs here.
"${pip[@]}" install -e '.[embedded,sklearn]' --group dev async-timeout
{
  echo "# Exact versions of everything the Makefile installs: one set that resolves on Python 3.11, 3.12 and 3.13."
  echo "# Renew with \`make constraints\`."
  "${pip[@]}" freeze --all --exclude-editable | grep -v '^setuptools=='
} >constraints.txt
