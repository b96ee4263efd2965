#!/bin/sh
# A worker's checkout before each run, where `make worker FOLLOW=1` has set it up to follow its branch: the newest commit
# and its packages. What the last run left in dvc.lock and results/ makes room; DVC's cache still has all of it.
set -eu
[ -n "${SRFOUNDRY_FOLLOW:-}" ] || exit 0
cd "$(dirname "$0")/.."
git checkout --quiet -- dvc.lock results
git pull --quiet --ff-only
sh scripts/setup.sh
