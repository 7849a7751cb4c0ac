#!/bin/sh
# One worker of a group, which TF_CONFIG names:  worker.sh RUN APP [FLAG ...]
# Starts the run, or goes on with it where the group was ended. RUN is on storage that all share.
set -eu
run=$1 app=$2
shift 2
if [ -f "$run/config.json" ]; then
  exec "${PYTHON:-python}" -m "apps.$app.train" --resume "$run" "$@"
fi
exec "${PYTHON:-python}" -m "apps.$app.train" --run-dir "$run" "$@"
