"""The console's part of the HTTP API: one router, whose every route asks the guard first."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from timbral.console.guard import guard
from timbral.console.routes import (
    data,
    dead_letters,
    fleet,
    home,
    imports,
    item_sets,
    items,
    jobs,
    login,
    models,
    tuning,
    users,
)

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[Depends(guard)])
for screen in (home, login, users, items, item_sets, models, jobs, dead_letters, imports, data, tuning, fleet):
    router.include_router(screen.router)
