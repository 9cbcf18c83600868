"""What clients of a LangGraph server ask before anything else: is it there, and what can it do."""

from django.http import HttpRequest
from ninja import Router

from approvals.api.errors import answers
from approvals.api.fields import ApiRecord

router = Router(tags=["server"])
VERSION_OF_SDK = "0.4"
"""Of the LangGraph SDK whose paths and shapes this server has."""


class HealthOut(ApiRecord):
    ok: bool


class ServerFlags(ApiRecord):
    """What a LangGraph server may have, and whether this one does."""

    assistants: bool = True
    crons: bool = False
    langsmith: bool = False
    store: bool = False
    stateless_runs: bool = False
    webhooks: bool = False


class HostOut(ApiRecord):
    """Where it is hosted, as a LangGraph server says it. Clients look here for a project of LangSmith; it has none."""

    kind: str = "self-hosted"
    project_id: str | None = None
    revision_id: str | None = None
    tenant_id: str | None = None


class InfoOut(ApiRecord):
    """`version` is that of the LangGraph SDK whose paths and shapes this server has."""

    server: str
    version: str
    flags: ServerFlags
    host: HostOut


@router.get("/ok", response=answers(HealthOut), auth=None)
def is_ok(request: HttpRequest) -> HealthOut:
    """Say that the server answers. Reads nothing, and needs no token. `/readyz` says whether people can work."""
    return HealthOut(ok=True)


@router.get("/info", response=answers(InfoOut), auth=None)
def get_info(request: HttpRequest) -> InfoOut:
    """Say what kind of server this is and what of a LangGraph server it offers. Needs no token."""
    return InfoOut(server="countersign", version=VERSION_OF_SDK, flags=ServerFlags(), host=HostOut())
