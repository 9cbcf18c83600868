"""The store of a thread's graph: its namespaces and their items. Nobody changes it here."""

import json

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from approvals.actions.workers import inquiries
from approvals.domain import bindings
from approvals.errors import THREAD_CLEANED, Gone, Invalid
from approvals.presenters.values import items_of_store
from approvals.views.pages import Request, words
from approvals.views.threads import get_thread


@require_safe
def show(request: Request, thread_id: str) -> HttpResponse:
    """List the namespaces, and the items below one of them. A worker reads them."""
    found = get_thread(request.user, thread_id)
    if found.cleaned_at:
        raise Gone(THREAD_CLEANED)
    bindings.check(found)
    namespace = _namespace(words(request, "namespace"))
    seen = inquiries.look_into_store(thread_id=found.pk, graph_id=found.graph_id, namespace=namespace)
    here = reverse("store", args=[found.pk])
    context = {
        "thread": found,
        "namespace": namespace,
        "namespaces": [(" / ".join(each), f"{here}?{_query(each)}") for each in seen["namespaces"]],
        "items": items_of_store(seen["items"]),
        "has_more_namespaces": seen["has_more_namespaces"],
        "has_more_items": seen["has_more_items"],
    }
    return render(request, "store.html", context)


def _query(namespace: list[str]) -> str:
    return urlencode({"namespace": json.dumps(namespace)})


def _namespace(text: str) -> list[str]:
    """Read `["ana", "memories"]`; an empty list where none is chosen."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(label, str) and label for label in found):
        raise Invalid("A namespace is a list of texts, as the links on this page have it.")
    return found
