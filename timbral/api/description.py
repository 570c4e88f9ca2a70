"""The OpenAPI description: what FastAPI finds out by itself, and what it cannot know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from timbral.config.settings import Settings
from timbral.messages import MESSAGES, Message, RecordPlays

__all__ = ["describe"]

OPEN = ("/health", "/ready")
WRITERS_ONLY = ("/users/{user_id}/export",)
TAGS = [
    {"name": "plays", "description": "Tell what users play."},
    {"name": "tasks", "description": "Put work on the queue."},
    {"name": "jobs", "description": "Follow it, and cancel it."},
    {"name": "reading", "description": "What users play, get, and why."},
    {"name": "item sets", "description": "Items by name, for lists of some items alone."},
    {"name": "privacy", "description": "What is stored of a user, and its removal."},
    {"name": "models", "description": "The versions of the model."},
    {"name": "running", "description": "For those who run the API."},
]


def describe(app: FastAPI, settings: Settings) -> None:
    """Have ``app.openapi()`` tell the messages' schemas and which routes need a token under ``settings``."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(app, settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description


def _complete(app: FastAPI, settings: Settings) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=TAGS)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    bodies: list[type[Message]] = [*MESSAGES.values(), RecordPlays]
    for message in bodies:
        route = schema["paths"].get("/plays" if message is RecordPlays else f"/tasks/{message.task}")
        if route is None:  # users are forgotten and exported under /users
            continue
        made = message.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(made.pop("$defs", {}))
        schemas[message.__name__] = made
        body = route["post"]["requestBody"]["content"]["application/json"]
        body["schema"] = {"$ref": f"#/components/schemas/{message.__name__}"}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape, which no route answers with
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "API_TOKEN; for reading API_READ_TOKEN too."}
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            needed = settings.API_TOKEN if method != "get" or path in WRITERS_ONLY else settings.API_READ_TOKEN
            if needed and path not in OPEN:
                operation["security"] = [{"token": []}]
    return schema
