# One image for every service: worker, trainer, scheduler, Flower and the HTTP API differ in their command alone.
# No BuildKit syntax, so that any builder takes it, and one stage, so that no builder leaves nameless images behind.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}

RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin timbral \
    && mkdir -p /data /history /models /training /state /run/secrets && chown timbral:timbral /history /models /training /state /run/secrets && chmod 700 /state /run/secrets

# What timbral depends on: this layer changes with constraints.txt and the dependencies in pyproject.toml. What no service reads goes
# in the same step, or the layer would keep it. EXTRAS="worker dashboard api" leaves the table of all plays out (130 MB).
ARG EXTRAS="worker history tune dashboard api"
WORKDIR /build
COPY pyproject.toml constraints.txt deploy/docker/requirements.py deploy/docker/slim.py ./
RUN python3 -m venv --without-pip /opt/venv \
    && python3 requirements.py ${EXTRAS} > requirements.txt \
    && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
       --root-user-action=ignore -c constraints.txt -r requirements.txt \
    && python3 slim.py /opt/venv

# timbral itself, with its kernels compiled in the folder that they run in, by which numba's cache goes: -P, or Python would take
# the sources here. Whole seconds: numba and Python compare times, and layers keep no fractions.
COPY README.md LICENSE celeryconfig.py ./
COPY timbral ./timbral
COPY workers ./workers
COPY producers ./producers
RUN python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
       --root-user-action=ignore --no-deps --no-compile --target /opt/timbral . \
    && find /opt/timbral -name '*.py' -exec touch --date=2000-01-01 {} + \
    && PYTHONPATH=/opt/timbral NUMBA_CACHE_DIR=/opt/timbral/kernels /opt/venv/bin/python -P -m timbral.models.kernels.compile \
    && find /opt/timbral -name __pycache__ -prune -exec rm -r {} + \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/timbral \
    && rm -rf /build/*
# Below the steps that build: the first python3 on this path has no pip.
ENV PATH=/opt/venv/bin:/opt/timbral/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/timbral \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/kernels \
    DATA_DIR=/data \
    HISTORY_URI=/history/plays \
    MODEL_DIR=/models \
    LOG_FORMAT=json
COPY deploy/docker/entrypoint.sh deploy/docker/secrets.sh deploy/docker/ready.sh /opt/docker/
# A clone made under a strict umask is for its owner alone.
RUN chmod -R a+rX /opt/docker

USER 10001:10001
WORKDIR /state
ENTRYPOINT ["/opt/docker/entrypoint.sh"]
CMD ["celery", "-A", "workers.app", "worker", "-Q", "celery,batch,training"]
