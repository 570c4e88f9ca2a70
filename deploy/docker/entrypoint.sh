#!/bin/sh
# Prepares what a service finds at its start, then becomes the service, so that it gets the signals itself.
set -eu

# The root file system is read-only and numba wants to write beside what it reads.
if [ -d /opt/timbral/kernels ] && [ ! -e "$NUMBA_CACHE_DIR" ]; then
    cp -r /opt/timbral/kernels "$NUMBA_CACHE_DIR"
fi

exec "$@"
