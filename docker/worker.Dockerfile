# The workers: the service's packages and torch. As it stands torch comes from pip's own index, which on Linux is the
# CUDA build, several gigabytes. For a small image without CUDA name the index of PyTorch's CPU wheels, whose builds of a
# version pip prefers:
#   docker compose build --build-arg TORCH_INDEX=URL compute prompt
FROM python:3.11-slim

ARG TORCH_INDEX
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY latentmill latentmill
COPY service service
COPY workers workers
COPY migrations migrations
RUN pip install -c constraints.txt ".[worker]" \
    && useradd --uid 10001 --create-home latentmill \
    && mkdir /data && chown latentmill:latentmill /data

WORKDIR /data
USER latentmill
CMD ["latentmill", "worker", "compute"]
