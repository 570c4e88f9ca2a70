"""Print what pyproject.toml requires for the extras named: the image installs that in a layer of its own, before the
code."""

import re
import sys
import tomllib
from pathlib import Path


def requirements(project: dict, extras: list[str]) -> list[str]:
    """The base's requirements and those of ``extras``; an extra that names another of ours brings that one's."""
    found = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = re.fullmatch(r"timbral\[(.+)\]", requirement)
            found += requirements({**project, "dependencies": []}, own[1].split(",")) if own else [requirement]
    return sorted(set(found))


if __name__ == "__main__":
    print("\n".join(requirements(tomllib.loads(Path("pyproject.toml").read_text())["project"], sys.argv[1:])))
