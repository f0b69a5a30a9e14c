#!/usr/bin/env bash
# Trains on every worker of a Cloud TPU slice, at this clone's last commit, which must be pushed.
# Python there must be 3.11 or newer and have venv; put PYTHON=python3.12 before the command to use
# another than python3. WORKDIR and --config.data.prepared, which is made once, on one machine
# (--mode=prepare), must be absolute paths that all workers see.
# Each worker writes to hpa_jax/hpa.log and carries on when this connection ends. To save and stop,
# send SIGTERM (gcloud … ssh NAME --worker=all --command 'pkill -f hpa_jax.[m]ain'). If the slice
# was preempted, create it again and repeat the command.
# usage: launch/tpu_pod.sh NAME ZONE configs/synthetic.py WORKDIR [--config.batch_size=512 …]
#        DRY_RUN=1 launch/tpu_pod.sh …   prints the commands instead
set -euo pipefail
name=$1 zone=$2 config=$3 workdir=$4
run=${DRY_RUN:+echo}
repository=$(git config --get remote.origin.url) || {
  echo "error: this clone has no remote called origin, from which the workers could clone" >&2
  exit 1
}
everywhere() {
  $run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command "$1"
}
everywhere "set -e
test -d hpa_jax || git clone $repository hpa_jax
cd hpa_jax
git fetch
git checkout $(git rev-parse HEAD)
test -x .venv/bin/pip || ${PYTHON:-python3} -m venv --clear .venv
.venv/bin/pip install --quiet -e '.[tpu,tfds]'"
everywhere "cd hpa_jax && .venv/bin/python -m hpa_jax.main --distributed$(
  printf ' %q' "--config=$config" "--workdir=$workdir" "${@:5}"
) >hpa.log 2>&1 </dev/null"
