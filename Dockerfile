# The console, from the locks: no version is chosen while it is built. `docker build -t countersign .`
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/countersign \
    && /opt/countersign/bin/pip install --require-hashes -r requirements.lock \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY agentcore agentcore
COPY approvals approvals
COPY templates templates
COPY static static
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel \
    && /opt/countersign/bin/pip install --no-deps /wheel/*.whl \
    && /opt/countersign/bin/pip check

FROM ${PYTHON}
# It needs no other program: the driver of PostgreSQL brings its library along.
RUN useradd --uid 10001 --no-log-init --home-dir /var/lib/countersign --create-home countersign \
    && mkdir /agent
COPY --from=build /opt/countersign /opt/countersign
ENV PATH=/opt/countersign/bin:$PATH DATA_DIR=/var/lib/countersign PYTHONUNBUFFERED=1
USER 10001
# Your project, with its langgraph.json: mount it here, or copy it in an image of your own.
WORKDIR /agent
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["countersign"]
CMD ["serve", "--host", "0.0.0.0", "--no-worker"]
