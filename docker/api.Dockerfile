# The API, beat, migrations and keys: everything that needs no torch.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY latentmill latentmill
COPY service service
COPY workers workers
COPY migrations migrations
RUN pip install -c constraints.txt ".[service]" \
    && useradd --uid 10001 --create-home latentmill \
    && mkdir /data && chown latentmill:latentmill /data

WORKDIR /data
USER latentmill
CMD ["latentmill", "api", "--host", "0.0.0.0"]
