#!/bin/sh
# Prints users.acl with the passwords that the environment gives, hashed, so that the file that Redis reads holds none; and with KEY_PREFIX.
set -eu
here=$(dirname "$0")
case ${KEY_PREFIX:-} in
*[!A-Za-z0-9_.:-]*) echo "KEY_PREFIX may hold letters, digits and _.:- alone" >&2; exit 1 ;;
esac
grep '^user ' "$here/users.acl" | sed "s/{P}/${KEY_PREFIX:-}/g" | while IFS= read -r line; do
    case $line in
    *%*_PASSWORD%*)
        name=${line#*#%}
        name=${name%%%*}
        eval "password=\${$name:-}"
        [ -n "$password" ] || continue
        hash=$(printf '%s' "$password" | sha256sum)
        printf '%s#%s%s\n' "${line%%#%*}" "${hash%% *}" "${line#*_PASSWORD%}"
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done
