#!/usr/bin/env bash
# Perform the image's installation in a clean folder, without Docker: what is committed, nothing else of
# this machine, into an environment of its own; then the entry point, as the image's user would call it.
#
#   docker/check.sh [FOLDER]     default: a temporary folder, removed afterwards; needs 5 GB and 3 minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-$(mktemp -d)}
[[ $# -gt 0 ]] || trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/rlvr" "$folder/home" "$folder/runs"
git archive HEAD | tar -x -C "$folder/rlvr"

# As in the image, nothing of this shell's environment; but the package sources of this machine stay.
sources=()
while IFS= read -r variable; do sources+=("$variable"); done < <(env | grep '^PIP_' || true)
clean() {
    (cd "$1" && shift && env -i "${sources[@]}" HOME="$folder/home" VENV="$folder/venv" \
        PATH="$folder/venv/bin:/usr/local/bin:/usr/bin:/bin" ${PYTHON:+PYTHON="$PYTHON"} "$@")
}
clean "$folder/rlvr" env GPU=0 scripts/setup.sh
clean "$folder/runs" rlvr --version
clean "$folder/runs" rlvr doctor
clean "$folder/runs" rlvr train recipe=tiny --dry-run >"$folder/dry-run.txt"
tail -n 1 "$folder/dry-run.txt"
echo "the image's steps work in a clean folder"
