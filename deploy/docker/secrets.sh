#!/bin/sh
# Makes up, once, each secret that .env does not give, and keeps it in the volume that the services mount.
# `docker compose run --rm secrets show` prints what is in use; nothing else does, and no log has it.
set -eu
umask 077
for name in REDIS_PASSWORD API_TOKEN FLOWER_BASIC_AUTH; do
    if [ ! -s "/run/secrets/$name" ]; then
        value=$(python3 -c 'import secrets; print(secrets.token_urlsafe(24))')
        [ "$name" != FLOWER_BASIC_AUTH ] || value=admin:$value
        printf '%s' "$value" > "/run/secrets/$name.new"
        mv "/run/secrets/$name.new" "/run/secrets/$name"
    fi
    eval "given=\${$name:-}"
    # Said here, `docker compose up` ends with it; Flower alone would start over and over.
    case $name=$given in
    FLOWER_BASIC_AUTH= | FLOWER_BASIC_AUTH=?*:?*) ;;
    FLOWER_BASIC_AUTH=*) echo "FLOWER_BASIC_AUTH: must be user:password" >&2 && exit 1 ;;
    esac
    [ "${1:-}" != show ] || printf '%s=%s\n' "$name" "${given:-$(cat "/run/secrets/$name")}"
done
