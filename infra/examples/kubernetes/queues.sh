#!/usr/bin/env bash
# The Kubernetes pool with its two queues, and the deployments on them: what trains waits for GPUs in its own queue,
# and what does not (ingestion, annotation) never waits for it. From the project's root folder, with PREFECT_API_URL set.
# usage: infra/examples/kubernetes/queues.sh [GPUs of one node]
set -euo pipefail
gpus="${1:-8}"
pool=kubernetes
prefect work-pool create --overwrite --type kubernetes --base-job-template infra/examples/kubernetes/base-job-template.json "$pool"
prefect work-queue create cpu --pool "$pool" --limit 16 || true # there already
prefect work-queue create gpu --pool "$pool" --limit 1 || true

deploy() { # queue, name, job variables ...
  local queue="$1" name="$2"
  shift 2
  env PWD=/home/wethink/project prefect --no-prompt deploy --prefect-file infra/prefect.yaml --name "$name" \
    --pool "$pool" --work-queue "$queue" "${@/#/--job-variable=}"
}
deploy cpu synthesize-source
for name in pipeline retrain ablation evaluate-checkpoint; do
  deploy gpu "$name" "gpus=$gpus" image=wethink:cuda cpu=16 memory=128Gi shared_memory=16Gi
done
