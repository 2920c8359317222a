# fpserver on the embedded store: docker build -t fpserver . && docker run -p 127.0.0.1:8710:8710 -v fpserver:/data fpserver
# There are no keys yet: publish the port on loopback, or behind something that has them.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/fpserver
COPY locks/runtime.txt locks/build.txt locks/
RUN /opt/fpserver/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r locks/runtime.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r locks/build.txt
COPY pyproject.toml README.md ./
COPY fpserver fpserver
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/fpserver/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 fpserver && install -d -o fpserver /data
COPY --from=build /opt/fpserver /opt/fpserver
COPY config.toml /etc/fpserver/config.toml
USER fpserver
VOLUME /data
EXPOSE 8710
ENV FPSERVER_WEB__HOST=0.0.0.0 FPSERVER_REDIS__DATA_DIR=/data
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["/opt/fpserver/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8710/healthz', timeout=4)"]
ENTRYPOINT ["/opt/fpserver/bin/fpserver"]
CMD ["serve", "--config", "/etc/fpserver/config.toml"]
