#!/usr/bin/env bash
# wheel_smoke.sh PYTHON: builds the wheel, installs it into an empty environment and looks at what a user would get.
set -euo pipefail

cd "$(dirname "$0")/.."
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The environment's own hatchling builds it, so that this step downloads no build tool.
"$python" -m hatchling build -t wheel -d "$folder/dist" >/dev/null
wheel=$(ls "$folder"/dist/skysail-*.whl)

"$python" scripts/wheel_contents.py "$wheel"

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check -q install -c constraints.txt "$wheel"
cd "$folder" # so that nothing is imported from the checkout
for package in topics workers frontend admin; do
  "$folder/venv/bin/python" -W error -c "import skysail.$package"
done
"$folder/venv/bin/skysail" --help >/dev/null
"$folder/venv/bin/python" -c 'import skysail.topics, sys; print("wheel: ok, skysail", skysail.topics.__version__, "on", sys.version.split()[0])'
