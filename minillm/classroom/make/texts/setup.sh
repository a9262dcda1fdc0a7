#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built: a Python that is new enough, with NumPy.
# The network is needed for pip, and for apt only where the image has no such Python.
set -uo pipefail
root="${MINILLM_AUTOGRADER:-/autograder}"
packages=(@PACKAGES@)

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has() {
  "$1" -c 'import sys, importlib.util as u, numpy
sys.exit(int(numpy.__version__[0]) < 2 or any(u.find_spec(m) is None for m in sys.argv[1:]))' @MODULES@ 2>/dev/null
}
pick() {
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if fits "$python"; then command -v "$python"; return; fi
  done
  return 1
}
apt() { DEBIAN_FRONTEND=noninteractive apt-get "$@" >/dev/null; }

python=$(pick) || {
  apt update; apt install -y python3.11 python3.11-venv || apt install -y python3.12 python3.12-venv
  python=$(pick) || { echo "minillm's grader needs Python 3.11 or newer: choose a newer base image" >&2; exit 1; }
}
if has "$python"; then # nothing to install
  printf '%s\n' "$python" > "$root/source/python"
  exit 0
fi
venv="$root/source/venv"
if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
  apt update
  apt install -y "$(basename "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")-venv" \
    || apt install -y python3-venv
  "$python" -m venv --clear "$venv" || { echo "cannot make a virtual environment with $python" >&2; exit 1; }
fi
"$venv/bin/python" -m pip install --disable-pip-version-check -q "${packages[@]}" \
  || { echo "pip could not install ${packages[*]}" >&2; exit 1; }
printf '%s\n' "$venv/bin/python" > "$root/source/python"
