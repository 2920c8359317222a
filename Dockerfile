# fpserver on the embedded store: docker build -t fpserver . – docs/deploying.md says how to make a first key, and to run it.
# Everything is written below /data (and /tmp): docker run --read-only --tmpfs /tmp … works.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/fpserver && python -m venv /opt/build
COPY locks/runtime.txt locks/build.txt locks/
RUN /opt/build/bin/python -m pip --python /opt/fpserver/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r locks/runtime.txt \
    && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r locks/build.txt
COPY pyproject.toml README.md ./
COPY fpserver fpserver
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/build/bin/python -m pip --python /opt/fpserver/bin/python install --no-cache-dir --no-deps dist/*.whl \
    && find /opt/fpserver -type d -name tests -prune -exec rm -r {} +

FROM python:3.11-slim-bookworm
# OpenMP, which training of recommendations is linked with, is in no wheel.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --no-create-home --home-dir /data --uid 10001 fpserver && install -d -o fpserver -g fpserver /data /data/spool
COPY --from=build /opt/fpserver /opt/fpserver
COPY config.toml /etc/fpserver/config.toml
ENV PATH=/opt/fpserver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    FPSERVER_WEB__HOST=0.0.0.0 \
    FPSERVER_REDIS__DATA_DIR=/data \
    NUMBA_CACHE_DIR=/data/loops
USER fpserver
# Compiled loops are kept in the volume: a new one begins with these, on another kind of processor they are made anew.
RUN python -m fpserver.preparing
VOLUME /data
EXPOSE 8710
# Whether it lives, not whether it is ready: a container whose store is away, or that is about to stop, must not be killed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8710/healthz', timeout=4)"]
ENTRYPOINT ["fpserver"]
CMD ["serve", "--config", "/etc/fpserver/config.toml"]
