#!/bin/bash
#SBATCH --job-name=hpa --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 --cpus-per-task=12
#SBATCH --time=24:00:00 --requeue --signal=TERM@300 --open-mode=append --output=%x-%j.log
# One process per GPU: keep tasks and GPUs per node equal, and do not bind GPUs to tasks. SIGTERM
# reaches the processes five minutes before the end: they agree on a step, save, and stop with
# status 143. The job is then queued again and resumes from there. Plain `scancel` ends it for good.
# usage: sbatch launch/slurm.sh configs/synthetic.py runs/synthetic [--config.batch_size=512 …]
set -euo pipefail
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  python -m hpa_jax.main --config="$1" --workdir="$2" --distributed "${@:3}" || {
  status=$?
  [ $status -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
  exit $status
}
