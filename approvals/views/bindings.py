"""Bind a thread to a graph: the graphs that fit, the others, and the reason."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals.actions.threads.bindings import bind_thread
from approvals.domain import bindings, permissions
from approvals.errors import Invalid
from approvals.models import Graph
from approvals.presenters.threads import choices_of
from approvals.views.pages import Request, redirect_after_post
from approvals.views.threads import get_thread


@require_http_methods(["GET", "HEAD", "POST"])
def bind(request: Request, thread_id: str) -> HttpResponse:
    permissions.check_bind(request.user)
    thread = get_thread(request.user, thread_id)
    chosen, reason, problem = request.POST.get("graph_id", ""), request.POST.get("reason", ""), ""
    if request.method == "POST":
        try:
            bound = bind_thread(thread_id=thread.pk, graph_id=chosen, reason=reason, by=request.user)
        except Invalid as refused:
            problem = refused.message if chosen else "Choose a graph."
        else:
            messages.success(request, f"This thread is of the graph {bound.graph_id} from now on.")
            return redirect_after_post("thread", thread.pk)
    fitting = bindings.fitting(thread)
    choices = choices_of(list(Graph.objects.order_by("pk")), fitting)
    context = {
        "thread": thread,
        "why": bindings.why_not(thread),
        "fitting": [choice for choice in choices if choice.fits],
        "others": [] if thread.graph_id else [choice for choice in choices if not choice.fits],
        "chosen": chosen or (fitting[0] if len(fitting) == 1 else ""),
        "reason": reason,
        "problem": problem,
    }
    return render(request, "bind.html", context, status=422 if problem else 200)
