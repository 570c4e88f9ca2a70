"""GET /models and /models/{version}: the versions of the model, and which one is live."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from timbral import keys
from timbral.api.context import ApiContext, Context
from timbral.api.refusals import Refused, responses

__all__ = ["router"]

router = APIRouter(tags=["models"])


class ModelVersion(BaseModel):
    """What is known of one version: shape, parameters, metrics, durations; new fields may come."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"version": "20260301T120000-7", "live": True, "n_users": 1892, "n_items": 17632}]
        },
    )
    version: str
    live: bool = Field(description="Whether users get recommendations of this one.")


class ModelsAnswer(BaseModel):
    """All versions that are kept."""

    current: str | None = Field(description="The version that is live; null before the first training.")
    models: list[ModelVersion] = Field(description="The newest training first.")


@router.get("/models", response_model=ModelsAnswer, responses=responses(), summary="All versions")
async def get_models(context: Context) -> ModelsAnswer:
    """The versions that are kept, the newest training first."""
    pipeline = context.redis.pipeline(transaction=False)
    pipeline.get(keys.MODEL_CURRENT)
    pipeline.zrevrange(keys.MODEL_VERSIONS, 0, -1)
    current, versions = await pipeline.execute()
    records = await _records(context, [_text(version) for version in versions], _text(current))
    return ModelsAnswer(current=_text(current) or None, models=records)


@router.get("/models/{version}", response_model=ModelVersion, responses=responses(404, 422), summary="One version")
async def get_model(
    context: Context,
    version: Annotated[str, Path(min_length=1, max_length=200, examples=["20260301T120000-7"])],
) -> ModelVersion:
    """One version's record. 404 where it is not kept, or never was."""
    pipeline = context.redis.pipeline(transaction=False)
    pipeline.get(keys.MODEL_CURRENT)
    pipeline.zscore(keys.MODEL_VERSIONS, version)
    current, fence = await pipeline.execute()
    if fence is None:
        raise Refused(404, f"No model version {version!r}", error="ModelNotFoundError")
    return (await _records(context, [version], _text(current)))[0]


async def _records(context: ApiContext, versions: list[str], current: str) -> list[ModelVersion]:
    if not versions:
        return []
    raw: list[Any] = await context.redis.mget([keys.model_metadata(version) for version in versions])
    return [
        ModelVersion(**{**_object(record), "version": version, "live": version == current})
        for version, record in zip(versions, raw, strict=True)
    ]


def _object(raw: bytes | None) -> dict[str, Any]:
    try:
        record = from_json(raw or b"{}", allow_inf_nan=False)
    except ValueError:
        return {}
    return record if type(record) is dict else {}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
