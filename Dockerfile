# One image for the site, the workers and single commands.
# See docs/deployment.md.

FROM python:3.11-slim-bookworm AS packages

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /build
# Only the files that decide about packages, so that a change of the code does not reinstall them.
COPY pyproject.toml setup.py README.md LICENSE constraints.txt ./
# Wheels only: the slim image has no compiler, and an sdist would run its own code here.
RUN mkdir templates && \
    /opt/venv/bin/pip install --only-binary :all: --constraint constraints.txt .


FROM python:3.11-slim-bookworm

# A fixed id, so that volumes keep their owner from one image to the next.
RUN groupadd --gid 10001 prm && \
    useradd --uid 10001 --gid prm --home-dir /var/lib/prm --create-home --shell /usr/sbin/nologin prm

# The command `prm` is among the packages, the code that it runs in /srv/prm.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/prm \
    PYTHONUNBUFFERED=1 \
    PRM_PRODUCTION=1 \
    PRM_ENV_FILE="" \
    PRM_DATA_DIR=/var/lib/prm/data \
    HF_HOME=/var/lib/prm/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib

COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/prm
# Root owns the code, so that running processes cannot change it.
COPY manage.py ./
COPY common common
COPY experiment_configs experiment_configs
COPY forests forests
COPY metrics metrics
COPY preferences preferences
COPY prm_site prm_site
COPY rollouts rollouts
COPY templates templates
COPY deploy/healthcheck.py deploy/healthcheck.py

# Production mode requires settings that collectstatic does not use; they apply only to this line.
RUN PRM_SECRET_KEY=only-to-collect-static-files \
    PRM_ALLOWED_HOSTS=localhost \
    MONGODB_URI=mongodb://localhost:1/ \
    REDIS_URL=redis://localhost:1/0 \
    OPENAI_BASE_URL=http://localhost:1/v1 \
    python manage.py collectstatic --noinput && \
    python -m compileall -q .

USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "deploy/healthcheck.py", "site", "/healthz"]
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--no-ws", \
     "--workers", "2", "--blocking-threads", "3", "--backpressure", "512", \
     "--respawn-failed-workers", "--log-level", "warning", "prm_site.wsgi:application"]
