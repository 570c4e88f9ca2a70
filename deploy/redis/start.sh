#!/bin/sh
# Starts Redis in a container: passwords reach it in a file on a tmpfs, never on the command line that `ps` shows.
set -eu
here=$(dirname "$0")
if [ -z "${REDIS_PASSWORD:-}" ] && [ -r /run/secrets/REDIS_PASSWORD ]; then
    REDIS_PASSWORD=$(cat /run/secrets/REDIS_PASSWORD)
fi
: "${REDIS_PASSWORD:?set REDIS_PASSWORD in .env}"
umask 077
sh "$here/users.sh" > /run/redis/users.acl
unset REDIS_PASSWORD REDIS_ADMIN_PASSWORD PRODUCER_PASSWORD READER_PASSWORD APP_PASSWORD
# A clone made under a strict umask is for its owner alone, and Redis runs as another user.
cat "$here/redis.conf" > /run/redis/redis.conf
set -- redis-server /run/redis/redis.conf --dir /data --aclfile /run/redis/users.acl --maxmemory "${REDIS_MAXMEMORY:-1gb}"
if [ "$(id -u)" = 0 ]; then
    chown redis:redis /data /run/redis/users.acl /run/redis/redis.conf
    find /data ! -user redis -exec chown redis:redis {} +
    exec setpriv --reuid redis --regid redis --clear-groups "$@"
fi
exec "$@"
