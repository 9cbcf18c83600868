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


class InfoOut(ApiRecord):
    """`api` is the version of the LangGraph SDK that this server serves."""

    server: str
    api: str
    flags: ServerFlags


@router.get("/ok", response=answers(HealthOut), auth=None)
def is_ok(request: HttpRequest) -> HealthOut:
    """Say that the server answers. Reads nothing, and needs no token. `/readyz` says whether people can work."""
    return HealthOut(ok=True)


@router.get("/info", response=answers(InfoOut), auth=None)
def get_info(request: HttpRequest) -> InfoOut:
    """Say what kind of server this is and what of a LangGraph server it offers. Needs no token."""
    return InfoOut(server="countersign", api=VERSION_OF_SDK, flags=ServerFlags())
