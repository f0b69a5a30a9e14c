#!/usr/bin/env bash
# Trains on all accelerators of this machine.
# usage: launch/local.sh configs/synthetic.py runs/synthetic [--config.batch_size=64 …]
set -euo pipefail
exec python -m hpa_jax.main --config="$1" --workdir="$2" "${@:3}"
