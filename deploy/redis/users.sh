#!/bin/sh
# Prints users.acl with the passwords that the environment gives: hashed, so that the file that Redis reads holds none.
set -eu
here=$(dirname "$0")
grep '^user ' "$here/users.acl" | while IFS= read -r line; do
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
