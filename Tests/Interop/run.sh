#!/usr/bin/env bash
# Other programs read what attune writes, attune reads what they write, and both compute the same.
#
#   Tests/Interop/run.sh [options of check.py]
#
# Makes a Python environment from requirements.txt on the first run, in INTEROP_ENVIRONMENT (default .build/interop), one folder
# for each version of that file. Exit status 3: the environment could not be made, so nothing was compared.
set -euo pipefail
cd "$(dirname "$0")/../.."
attune=$(realpath "${ATTUNE_BINARY:-.build/release/attune}")
python=${PYTHON:-python3}

unavailable() {
  echo "interop: $1" >&2
  exit 3
}

version='import hashlib, sys
print(hashlib.sha256(open("Tests/Interop/requirements.txt", "rb").read() + sys.version.encode()).hexdigest()[:12])'
key=$("$python" -c "$version") || unavailable "there is no $python (Scripts/setup.sh interop installs it)"
environment=${INTEROP_ENVIRONMENT:-.build/interop}/$key
if [ ! -e "$environment/complete" ]; then
  echo "interop: making $environment (once)"
  rm -rf "$environment"
  "$python" -m venv "$environment" || unavailable "$python has no venv (Scripts/setup.sh interop installs it)"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r Tests/Interop/requirements.txt \
    || { rm -rf "$environment"; unavailable "pip could not install Tests/Interop/requirements.txt"; }
  touch "$environment/complete"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1
"$environment/bin/python" Tests/Interop/check.py "$attune" "$work" "$@"
