#!/bin/bash -l
# karat: small. Submitted again, it resumes.
#SBATCH --job-name=karat-small
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --array=1-8%1
#SBATCH --output="/shared/my studies/.slurm/small-%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --no-requeue
set -eo pipefail
umask 077
export RAY_grpc_client_keepalive_time_ms=10000
export RAY_grpc_client_keepalive_timeout_ms=10000
export RAY_health_check_period_ms=10000
export MLFLOW_TRACKING_URI=https://mlflow.example.org
export KARAT_IF_LOCKED=leave
exec /shared/karat/.venv/bin/python /shared/karat/jobs/slurm/job.py \
    --cpus 4 --gpus 0 --wait-minutes 10 \
    --storage '/shared/my studies' \
    --runner /shared/karat/.venv/bin/python \
    -- -m karat.cli.in_cluster --space /home/me/spaces/small.yaml --storage '/shared/my studies'
