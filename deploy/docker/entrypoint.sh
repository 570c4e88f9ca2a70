#!/bin/sh
# Prepares what a service finds at its start, then becomes the service, so that it gets the signals itself.
set -eu

# The root file system is read-only and numba wants to write beside what it reads.
if [ -d /opt/timbral/kernels ] && [ ! -e "$NUMBA_CACHE_DIR" ]; then
    cp -r /opt/timbral/kernels "$NUMBA_CACHE_DIR"
fi

# Secrets that the environment does not give come from files: what `docker compose up` made up for a checkout without .env.
for name in REDIS_PASSWORD API_TOKEN FLOWER_BASIC_AUTH; do
    eval "value=\${$name:-}"
    if [ -z "$value" ]; then
        unset "$name"
        if [ -r "/secrets/$name" ]; then
            value=$(cat "/secrets/$name")
            export "$name=$value"
        fi
    fi
done

exec "$@"
