"""What the queue is compared with: a Django view as the tutorial has it, of fifty rows for whoever is signed in."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

PAGE = """<!doctype html><title>Queue</title><h1>Hello {{ user.username }}</h1>
<table><thead><tr><th>Waits since</th><th>Approval</th><th>Graph</th><th>Thread</th><th>Started by</th></tr></thead>
{% for each in rows %}<tr id="row-{{ each.pk }}">
<td>{{ each.created_at|timesince }}</td>
<td><a href="{% url 'one' each.pk %}">{{ each.title }}</a> <span>{{ each.summary }}</span></td>
<td>{{ each.graph_id }} {{ each.next|join:", " }}</td><td>{{ each.thread_id }}</td>
<td>{{ each.thread.started_by.username }}</td></tr>
{% endfor %}</table>
"""
MIDDLEWARE = [
    f"django.{name}"
    for name in (
        "middleware.security.SecurityMiddleware",
        "contrib.sessions.middleware.SessionMiddleware",
        "middleware.common.CommonMiddleware",
        "middleware.csrf.CsrfViewMiddleware",
        "contrib.auth.middleware.AuthenticationMiddleware",
        "contrib.messages.middleware.MessageMiddleware",
        "middleware.clickjacking.XFrameOptionsMiddleware",
    )
]
"""Those of `startproject`."""
_template = engines["django"].from_string(PAGE)


@login_required
def rows(request: HttpRequest) -> HttpResponse:
    from approvals.models import Approval

    found = Approval.objects.pending().select_related("thread__started_by").oldest_first()
    return HttpResponse(_template.render({"rows": found[:50]}, request))


urlpatterns = [path("", rows), path("one/<uuid:pk>/", rows, name="one")]
