#!/bin/sh
# The environment of exact versions: setup.sh [EXTRA...] puts what `make repro` needs into .venv, and extras of
# pyproject.toml besides (ui, serve, cluster, diffusion, dev). Nothing is done again while requirements.lock and what
# pyproject.toml says of the package (all above the tools' settings) stay.
set -eu
cd "$(dirname "$0")/.."

mkdir -p .dvc inputs/photographs inputs/kernels inputs/unpaired
if [ -e .git ]; then
    grep -qs 'no git here' .dvc/config.local && rm .dvc/config.local
elif [ ! -e .dvc/config.local ]; then # a ZIP download: DVC works without git when its settings say so
    printf '# set-up found no git here\n[core]\n    no_scm = true\n' >.dvc/config.local
fi

wanted() { cat requirements.lock && sed '/^\[tool\.ruff\]/,$d' pyproject.toml; }
stamp() { echo ".venv/installed.$1.lock"; }
extras=
for extra in pipeline "$@"; do
    grep -q "^$extra = \[" pyproject.toml || { echo "error: pyproject.toml has no extra $extra" >&2; exit 1; }
    wanted | cmp -s - "$(stamp "$extra")" || extras="$extras $extra"
done
[ -n "$extras" ] || exit 0

sh scripts/room.sh 5
python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || { echo "error: Python 3.11 not found; install python3 and python3-venv" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' ||
    { echo "error: Python 3.11 or 3.12 is needed, got $("$python" --version)" >&2; exit 1; }
[ -x .venv/bin/pip ] || "$python" -m venv .venv ||
    { echo "error: cannot make a virtual environment; install python3-venv" >&2; exit 1; }
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# ONNX Runtime and torch come in builds for NVIDIA's GPUs, which take gigabytes more, and in builds without.
if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null || ls "$packages"/onnxruntime_gpu-* >/dev/null 2>&1; then
    build=gpu
    ls "$packages"/onnxruntime-* >/dev/null 2>&1 && .venv/bin/pip uninstall -qy onnxruntime # its files have the same names
else
    build=cpu
fi
wish=".[$(echo "$build$extras" | tr ' ' ',')]"
echo "installing srfoundry${wish#.} into .venv, which takes minutes" >&2
# uv is quick but does not read pip's settings: hand over where pip finds wheels (a CPU build of torch, for example).
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(.venv/bin/pip config get global.find-links 2>/dev/null || true)}}
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_PROGRESS=1 UV_LINK_MODE=copy
with_uv() { # compiled once: imports cost each stage 15 s otherwise
    .venv/bin/uv pip install -q --python .venv ${links:+--find-links "$links"} --constraint requirements.lock \
        --build-constraint requirements.lock --compile-bytecode "$@" --editable "$wish"
}
.venv/bin/pip install -q "$(grep '^uv==' requirements.lock)" && {
    # PyPI's torch for Linux is CUDA's, whoever installs it; where the user has set up nothing else, take the small one
    [ "$build" = cpu ] && [ -z "$links${UV_INDEX_URL:-}${UV_DEFAULT_INDEX:-}${UV_INDEX:-}" ] && with_uv --torch-backend cpu 2>/dev/null
} || with_uv || {
    echo "uv did not do it; pip takes longer" >&2
    .venv/bin/pip install -q --constraint requirements.lock --editable "$wish"
}
# A program of .venv finds .venv's others without activation: `.venv/bin/dvc repro` its stages' python.
cp scripts/beside.pth "$packages/"
for extra in $extras; do wanted >"$(stamp "$extra")"; done
