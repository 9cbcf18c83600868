"""Signing in and out."""

from ipaddress import ip_address
from typing import cast
from urllib.parse import urlencode

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from approvals.actions.people.sign_in import use_link
from approvals.errors import Denied
from approvals.programs import typed
from approvals.views.pages import Request

_form = LoginView.as_view(
    template_name="sign_in.html",
    redirect_authenticated_user=True,
    extra_context={"new_link": typed("signin_link NAME")},
)
sign_out = LogoutView.as_view()


@login_not_required
def sign_in(request: Request) -> HttpResponseBase:
    if request.htmx and not request.htmx.boosted:
        # A fragment of a page whose session ended: sign in as a page, not inside the fragment.
        query = urlencode({"next": request.htmx.current_url_abs_path or "/"})
        return HttpResponseClientRedirect(f"{request.path}?{query}")
    return _form(request)


@login_not_required
@never_cache
@require_safe
def sign_in_link(request: Request, token: str) -> HttpResponse:
    if not _is_local(request.META.get("REMOTE_ADDR", "")):
        raise Denied("A sign-in link works only in a browser on the machine that printed it.")
    login(request, cast(User, use_link(token)))
    return redirect("queue")


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
