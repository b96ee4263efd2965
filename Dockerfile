# syntax=docker/dockerfile:1
# Three images of a few hundred megabytes, without build tools and without a user who may write anything:
#   docker build -t srfoundry .                            the server of the family, srfoundry serve (docs/container.md)
#   docker build -t srfoundry-mlflow --target mlflow .     MLflow's server, the registry that it follows
#   docker build -t srfoundry-prefect --target prefect .   Prefect's server, which hands runs to workers (docs/cluster.md)
# Both bases are one exact tag. A digest pins them against a tag that moves: docker buildx imagetools inspect
# python:3.11.14-slim-trixie shows it; build with --build-arg BASE=python:3.11.14-slim-trixie@sha256:...
ARG BASE=python:3.11.14-slim-trixie

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/src/requirements.lock
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m pip wheel --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/srfoundry \
    && /opt/srfoundry/bin/pip install "$(ls /wheels/srfoundry-*.whl)[cpu,serve]" \
    && /opt/srfoundry/bin/pip uninstall --yes pip setuptools
RUN python -m venv /sbom \
    && /sbom/bin/pip install cyclonedx-bom==7.5.0 \
    && /sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/srfoundry/sbom.cdx.json /opt/srfoundry/bin/python

FROM ${BASE} AS build-mlflow
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/src/requirements.lock
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/mlflow \
    && /opt/mlflow/bin/pip install mlflow "psycopg2-binary>=2.9,<3" "boto3>=1.40,<2" \
    && /opt/mlflow/bin/pip uninstall --yes pip setuptools

FROM ${BASE} AS build-prefect
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/src/requirements.lock
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/prefect \
    && /opt/prefect/bin/pip install prefect fastapi \
    && /opt/prefect/bin/pip uninstall --yes pip setuptools

FROM ${BASE} AS mlflow
LABEL org.opencontainers.image.title="MLflow for srfoundry" \
    org.opencontainers.image.description="The registry of models: MLflow's server, versions as srfoundry locks them"
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
    && install --directory --owner app --group app /data
COPY --from=build-mlflow /opt/mlflow /opt/mlflow
ENV PATH=/opt/mlflow/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"]
CMD ["--backend-store-uri", "sqlite:////data/mlflow.db", "--artifacts-destination", "/data/artifacts"]

FROM ${BASE} AS prefect
LABEL org.opencontainers.image.title="Prefect for srfoundry" \
    org.opencontainers.image.description="Prefect's server, which hands runs of the factory to workers, versions as srfoundry locks them"
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
    && install --directory --owner app --group app /data
COPY --from=build-prefect /opt/prefect /opt/prefect
ENV PATH=/opt/prefect/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 \
    PREFECT_HOME=/data PREFECT_UI_STATIC_DIRECTORY=/tmp/ui PREFECT_SERVER_ANALYTICS_ENABLED=false
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 4200
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:4200/api/health', timeout=4)"]
ENTRYPOINT ["prefect", "server", "start", "--host", "0.0.0.0", "--port", "4200"]
CMD ["--log-level", "WARNING"]

FROM ${BASE} AS serve
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="srfoundry" \
    org.opencontainers.image.description="Enlarges photographs over HTTP; follows a model's alias in MLflow's registry" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=build /opt/srfoundry /opt/srfoundry
ENV PATH=/opt/srfoundry/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SRFOUNDRY_CACHE=/tmp/srfoundry
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["srfoundry", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--models", "/models"]
