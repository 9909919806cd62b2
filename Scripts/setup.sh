#!/usr/bin/env bash
# Installs the system packages that the build and the report need, if any is missing. Debian and Ubuntu (apt, as root or
# through sudo) and macOS (brew). Prints nothing and takes no time when everything is there.
#
#   Scripts/setup.sh           for builds and tests
#   Scripts/setup.sh interop   also a Python that can make environments, for `make interop`
set -euo pipefail

wants_python=false
if [ "${1:-}" = interop ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then wants_python=true; fi

swift_version() { swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1; }

version=$(swift_version || true)
if [ -z "$version" ]; then
  echo "setup: swift is not on the PATH; install Swift 6.3 or newer from https://www.swift.org/install" >&2
  exit 2
fi
if [ "$(printf '%s\n6.3\n' "$version" | sort -V | head -n 1)" != "6.3" ]; then
  echo "setup: found Swift $version, 6.3 or newer is needed (https://www.swift.org/install)" >&2
  exit 2
fi

if [ "$(uname)" = "Darwin" ]; then
  packages=(pkg-config libyaml sqlite libpng jpeg-turbo webp pcre2 cairo libffi curl)
  if ! command -v brew >/dev/null; then
    echo "setup: Homebrew is needed to install: ${packages[*]} (https://brew.sh)" >&2
    exit 2
  fi
  if $wants_python || ! command -v python3 >/dev/null; then packages+=(python3); fi
  missing=()
  for package in "${packages[@]}"; do brew list --versions "$package" >/dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] || brew install "${missing[@]}"
  exit 0
fi

packages=(pkg-config libyaml-dev libsqlite3-dev libpng-dev libjpeg-dev libwebp-dev libpcre2-dev libcairo2-dev libffi-dev fonts-dejavu-core gcc libc6-dev libcurl4-openssl-dev)
if $wants_python; then packages+=(python3 python3-venv); fi
# The reward `code` runs completions' Python programs, in its tests too; nothing else of the program needs Python.
command -v python3 >/dev/null || packages+=(python3-minimal)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup: this system has no apt; install the equivalents of: ${missing[*]}" >&2
  exit 2
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: neither root nor sudo; ask for these packages: ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
