# karat with all its dependencies, for every service of docker-compose.yml and for Kubernetes.
# The PostgreSQL driver is in requirements.txt: MLflow's image does not contain one.
FROM python:3.11.13-slim-bookworm

# g++ compiles the attention kernel below, once. KubeRay's health probes of a pod run bash and wget.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home karat \
    && install -d -o karat -g karat /karat /studies /artifacts

WORKDIR /karat
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY --chown=karat:karat launch.py pyproject.toml ./
COPY --chown=karat:karat karat karat
COPY --chown=karat:karat jobs jobs
COPY --chown=karat:karat docker docker
COPY --chown=karat:karat clusters clusters
COPY --chown=karat:karat search_spaces search_spaces

USER 10001:10001
ENV PYTHONUNBUFFERED=1 DO_NOT_TRACK=true RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
RUN python -m karat.attention.kernels._compiled
CMD ["python", "launch.py", "--help"]
