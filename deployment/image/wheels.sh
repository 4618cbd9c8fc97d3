#!/bin/bash
# wheels.sh ARCHITECTURE FOLDER SITE: fetches the wheels that FOLDER's lock file names for ARCHITECTURE (arm, arm64 or
# amd64, as container tools say it) into SITE, the same bytes each time. Runs on the building machine, whatever it is.
set -euo pipefail
architecture=$1 folder=$2 site=$3
case $architecture in
  arm) lock=arm32v7 machine=armv7l ;;
  arm64) lock=64bit machine=aarch64 ;;
  amd64) lock=64bit machine=x86_64 ;;
  *) echo "wheels.sh: no image for '$architecture'; there are arm, arm64 and amd64" >&2; exit 2 ;;
esac
platforms=()
for tag in manylinux_2_34 manylinux_2_31 manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do
  platforms+=(--platform "${tag}_$machine")
done
python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile --require-hashes --no-deps \
  --only-binary=:all: "${platforms[@]}" --python-version 311 --implementation cp \
  --target "$site" --requirement "$folder/$lock.txt"
# Not needed on a gateway: commands, tests, headers; what accelerators want.
rm -rf "${site:?}/bin" "${site:?}/include"
find "$site" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
# Sets are written in the order of their hashes.
PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash "$site"
find "$site" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-1700000000}" {} +
