# image-translate in a container, for CPUs or for NVIDIA GPUs:
#
#   docker build -t image-translate .
#   docker build -t image-translate:cuda --build-arg BACKEND=cu130 .
#
#   docker run --rm -v "$PWD:/work" image-translate convert flat-to-3d drawings out
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" image-translate:cuda train cyclegan my_data --preset quick
#
# BACKEND: build of torch: cpu, or one for CUDA, such as cu130, whose wheels bring all of CUDA but the driver; empty: that of PyPI.
# EXTRAS: extras of pyproject.toml, with commas. BASE: image with Python 3.11 or newer and pip.

ARG BASE=python:3.12-slim
FROM ${BASE}

ARG BACKEND=cpu
ARG EXTRAS=export,video,watch

COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY translate /src/translate
COPY datasets /src/datasets
COPY checkpoints /src/checkpoints
RUN pip install --no-cache-dir uv==0.13.9 \
 && uv pip install --system --no-cache ${BACKEND:+--torch-backend "${BACKEND}"} "/src[${EXTRAS}]" \
 && rm -rf /src

# Outputs belong to this user: run with --user "$(id -u):$(id -g)" for files of your own. Caches go to a folder that anyone may write.
RUN useradd --create-home --uid 1000 translate && install -d -m 1777 /cache
ENV XDG_CACHE_HOME=/cache
USER 1000
WORKDIR /work
ENTRYPOINT ["translate"]
CMD ["--help"]
