"""Query parameters that a route does not know are refused: a misspelt ``limit`` would be no limit, and nobody would
notice."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

__all__ = ["only_known_parameters"]


async def only_known_parameters(request: Request) -> None:
    """Dependency of every route.

    Raises:
        RequestValidationError: the URL has a parameter that the route does not.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute) or not route.include_in_schema:
        return  # the page reads its own
    known = list(_query_names(route.dependant))
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        problem = f"Unknown parameter; known: {', '.join(known)}" if known else "This takes no parameters"
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": problem, "input": request.query_params[name]} for name in unknown]
        )


def _query_names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for other in dependant.dependencies:
        yield from _query_names(other)
