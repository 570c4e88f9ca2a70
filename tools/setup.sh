#!/bin/sh
# Makes the environment that the Makefile works in: tools/setup.sh FOLDER. Needs Python 3.11 or newer, nothing else.
set -eu
venv=$1
python=${PYTHON:-python3}

newest=""
for candidate in "$python" python3.14 python3.13 python3.12 python3.11 python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        newest=$candidate
        break
    fi
done
if [ -z "$newest" ]; then
    echo "timbral needs Python 3.11 or newer; none of python3, python3.11 … python3.14 on the PATH is. Name one: make PYTHON=/path/to/python" >&2
    exit 1
fi

# Two at once would clear the environment that the other one fills.
lock=$venv.setup
if ! mkdir "$lock" 2>/dev/null; then
    other=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
        echo "Process $other sets $venv up already: try again when it has ended." >&2
        exit 1
    fi
    mkdir -p "$lock"  # left by one that was killed
fi
echo $$ >"$lock/pid"
trap 'rm -rf "$lock"' EXIT
trap 'exit 130' INT TERM HUP

echo "Setting up $venv with $("$newest" --version) (once; a minute or two)"
if ! "$newest" -m venv --clear "$venv" 2>/dev/null; then
    # Debian and Ubuntu ship venv without pip in it; virtualenv brings its own, where it is installed.
    rm -rf "$venv"
    if ! "$newest" -m virtualenv --quiet "$venv" 2>/dev/null; then
        echo "This Python cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv) or virtualenv." >&2
        exit 1
    fi
fi
install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt "$@"
}
# What the kernels need comes first: they are compiled while pip, which uses one core, installs the rest.
"$venv/bin/python" -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["worker"], sep="\n")
' >"$lock/worker.txt"
install --requirement "$lock/worker.txt"
"$venv/bin/python" -m timbral.models.kernels.compile >"$lock/kernels" 2>&1 &
kernels=$!
install --editable '.[dev]'
# Compiled once here, so that nothing waits for it later; on all cores, and without what one test or no program imports.
# A file of theirs that this Python cannot compile is nobody's business here.
seldom='alembic|botocore|graphql|moto|mypy|mypyc|pip|pkg_resources|pygments|schemathesis|setuptools|sklearn|sqlalchemy|valkey|wcwidth'
"$venv/bin/python" -m compileall -qq -j 0 -x "/site-packages/($seldom)/|/site-packages/.*/tests?/" \
    "$venv/lib" timbral workers producers tools || true
if ! wait "$kernels"; then
    cat "$lock/kernels" >&2
    exit 1
fi
cat "$lock/kernels"
