"""System checks: which setting is wrong, and what to type instead."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from agentcore.plain import langgraph_json
from agentcore.plain.errors import RegistryError
from agentcore.plain.urls import Memory, Sqlite
from approvals import checkpoints


@register(Tags.compatibility)
def check_langgraph_json(app_configs: Any, **kwargs: Any) -> list[Error]:
    try:
        langgraph_json.read_entries(settings.LANGGRAPH_JSON)
    except RegistryError as error:
        return [
            Error(str(error), hint="Correct it, or set LANGGRAPH_JSON to the path of another.", id="countersign.E001")
        ]
    return []


@register(Tags.security, deploy=True)
def check_origin(app_configs: Any, **kwargs: Any) -> list[Error]:
    if settings.PUBLIC_URL.startswith("https://") or settings.IS_LOCAL:
        return []
    return [
        Error(
            "PUBLIC_URL is not https, so passwords and decisions would cross the network in the clear.",
            hint="Set PUBLIC_URL=https://your.host and let a proxy end TLS.",
            id="countersign.E002",
        )
    ]


@register(Tags.database)
def check_database_names(app_configs: Any, **kwargs: Any) -> list[Error]:
    return [
        Error(f"The database URL of {alias} names no database.", hint="Add /name to it.", id="countersign.E003")
        for alias, database in settings.DATABASES.items()
        if not database["NAME"]
    ]


@register(Tags.security, deploy=True)
def check_checkpoint_store(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    why = checkpoints.why_one_process()
    match settings.CHECKPOINT_STORE:
        case Memory():
            told = f"{why} They are lost when it ends, and every paused thread with them."
            return [Error(told, hint="Set CHECKPOINT_URL=postgresql://..., or unset it.", id="countersign.E004")]
        case Sqlite():
            told = f"{why} Web and worker cannot be two."
            return [Warning(told, hint="Set CHECKPOINT_URL=postgresql://... for several.", id="countersign.W002")]
    return []
