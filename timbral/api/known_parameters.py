"""Query parameters that a route does not know, and those given twice that are one, are refused: of two limits one
would be passed over, a misspelt one would be none, and nobody would notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

__all__ = ["only_known_parameters"]


async def only_known_parameters(request: Request) -> None:
    """Dependency of every route.

    Raises:
        RequestValidationError: the URL has a parameter that the route does not, or one of its own too often.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute) or not route.include_in_schema:
        return  # the page reads its own
    known = dict(_query_names(route.dependant))
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        problem = f"Unknown parameter; known: {', '.join(known)}" if known else "This takes no parameters"
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": problem, "input": request.query_params[name]} for name in unknown]
        )
    repeated = {name: request.query_params.getlist(name) for name, is_list in known.items() if not is_list}
    problems = [
        {"loc": ("query", name), "msg": f"Must be given once, is given {len(values)} times", "input": values}
        for name, values in repeated.items()
        if len(values) > 1
    ]
    if problems:
        raise RequestValidationError(problems)


def _query_names(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The names, and whether each is a list."""
    for field in dependant.query_params:
        yield field.alias, _is_list(field.field_info.annotation)
    for other in dependant.dependencies:
        yield from _query_names(other)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(one) for one in get_args(annotation))
