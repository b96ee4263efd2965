#!/bin/sh
# The environment of exact versions, made once: nothing is done again while requirements.lock and what pyproject.toml
# says of the package (all above the tools' settings) stay.
set -eu
cd "$(dirname "$0")/.."

mkdir -p .dvc
if [ -e .git ]; then
    grep -qs 'no git here' .dvc/config.local && rm .dvc/config.local
elif [ ! -e .dvc/config.local ]; then # a ZIP download: DVC works without git when it is told so
    printf '# set-up found no git here\n[core]\n    no_scm = true\n' >.dvc/config.local
fi

stamp=.venv/installed.lock
wanted() { cat requirements.lock && sed '/^\[tool\.ruff\]/,$d' pyproject.toml; }
wanted | cmp -s - "$stamp" && exit 0

sh scripts/room.sh 5
python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || { echo "error: Python 3.11 not found; install python3 and python3-venv" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' ||
    { echo "error: Python 3.11 or 3.12 is needed, got $("$python" --version)" >&2; exit 1; }
[ -x .venv/bin/pip ] || "$python" -m venv .venv ||
    { echo "error: cannot make a virtual environment; install python3-venv" >&2; exit 1; }

echo "installing $(wc -l <requirements.lock) packages into .venv" >&2
# uv is quick but does not read pip's settings: hand over where pip finds wheels (a CPU build of torch, for example).
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(.venv/bin/pip config get global.find-links 2>/dev/null || true)}}
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_PROGRESS=1 UV_LINK_MODE=copy
with_uv() {
    .venv/bin/pip install -q "$(grep '^uv==' requirements.lock)" &&
        .venv/bin/uv pip install -q --python .venv ${links:+--find-links "$links"} --no-deps \
            --compile-bytecode -r requirements.lock # compiled once: imports cost each stage 15 s otherwise
}
with_uv || {
    echo "uv did not do it; pip takes longer" >&2
    .venv/bin/pip install -q --no-deps -r requirements.lock
}
# A CUDA build of torch needs NVIDIA's libraries, which the lock cannot name for those who install a CPU build.
.venv/bin/pip install -q --constraint requirements.lock "$(grep '^torch==' requirements.lock)"
.venv/bin/pip install -q --no-build-isolation --no-deps -e .
# A program of .venv finds .venv's others without activation: `.venv/bin/dvc repro` its stages' python.
cp scripts/beside.pth "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/"
wanted >"$stamp"
