"""Force-clean a thread: what would be removed, a copy, the reason, and the thread's id typed again."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from approvals.actions.threads import cleaning
from approvals.errors import Invalid
from approvals.views.pages import Request, redirect_after_post
from approvals.views.threads import get_thread
from approvals.web.downloads import download_thread

MOST_SUBGRAPHS = 50


@require_http_methods(["GET", "HEAD", "POST"])
def force_clean(request: Request, thread_id: str) -> HttpResponse:
    planned = cleaning.plan(thread_id=thread_id, by=request.user)
    thread = get_thread(request.user, thread_id)
    reason, typed = request.POST.get("reason", ""), request.POST.get("typed_id", "")
    problem = ""
    if request.method == "POST":
        try:
            if typed.strip() != thread.pk.strip():
                raise Invalid("What you typed is not this thread's id. Nothing was removed.")
            done = cleaning.force_clean(thread_id=thread_id, reason=reason, by=request.user)
        except Invalid as refused:
            problem = refused.message
        else:
            messages.success(request, f"Removed: {sum(done.rows.values())} rows. The record of it stays.")
            return redirect_after_post("thread", thread.pk)
    subgraphs = [(name, count) for name, count in planned.namespaces.items() if name]
    context = {
        "thread": thread,
        "plan": planned,
        "subgraphs": subgraphs[:MOST_SUBGRAPHS],
        "reason": reason,
        "typed": typed,
        "problem": problem,
    }
    return render(request, "force_clean.html", context, status=422 if problem else 200)


@require_safe
def export_thread(request: Request, thread_id: str) -> HttpResponseBase:
    """Download a copy of the thread as JSON Lines."""
    return download_thread(thread_id=thread_id.replace("\x00", ""), by=request.user)
