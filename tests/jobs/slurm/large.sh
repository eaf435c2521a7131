#!/bin/bash -l
# karat: small. Submitted again, it resumes.
#SBATCH --job-name=karat-small
#SBATCH --partition=gpu
#SBATCH --account=vision
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=61035M
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --output="/shared/my studies/.slurm/small-%j.log"
#SBATCH --open-mode=append
#SBATCH --requeue
set -eo pipefail
umask 077
export RAY_grpc_client_keepalive_time_ms=10000
export RAY_grpc_client_keepalive_timeout_ms=10000
export RAY_health_check_period_ms=10000
export MLFLOW_TRACKING_URI=https://mlflow.example.org
export KARAT_SETUP='module load cuda/12.4
source '"'"'/opt/site env/activate'"'"''
eval "$KARAT_SETUP"
exec python3 /shared/karat/jobs/slurm/job.py \
    --cpus 16 --gpus 4 --wait-minutes 10 --requeue --notice-s 300 \
    --storage '/shared/my studies' \
    --runner 'apptainer exec --nv --bind /shared/karat --bind '"'"'/shared/my studies'"'"' --bind /home/me/spaces /shared/karat.sif python' \
    -- -m karat.cli.in_cluster --space /home/me/spaces/small.yaml --storage '/shared/my studies'
