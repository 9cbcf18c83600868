"""Filters and tags: text that may hold anything, times, the badge and the notice of every page."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html

from approvals import breaker
from approvals import text as texts
from approvals.models import Approval
from approvals.permissions import User, roles_of

register = template.Library()


register.filter("visible", texts.visible)
register.filter("visible_text", texts.plain_visible)


@register.simple_tag
def moment(at: datetime | None) -> str:
    """A time: in UTC from here, in the reader's zone once the page's script has run."""
    if at is None:
        return ""
    utc = f"{at:%d %b %Y, %H:%M} UTC"
    return format_html('<time datetime="{}" title="{}" data-moment>{}</time>', at.isoformat(), utc, utc)


@register.simple_tag
def age(at: datetime | None) -> str:
    """How long ago, in words; the time itself on hover."""
    if at is None:
        return ""
    utc = f"{at:%d %b %Y, %H:%M} UTC"
    return format_html(
        '<time datetime="{}" title="{}" data-age>{}</time>',
        at.isoformat(),
        utc,
        texts.words_for((timezone.now() - at).total_seconds()),
    )


@register.simple_tag
def open_count() -> int:
    """How many approvals wait: one indexed count for each page."""
    return Approval.objects.pending().count()


@register.simple_tag
def live_notice() -> str:
    """A sentence while Redis cannot be used, as far as this process knows: asking Redis itself would be a wait."""
    if breaker.redis.state() in ("ok", "off"):
        return ""
    return "Live updates are off: changes show within 15 s. Decisions are not affected."


@register.simple_tag
def roles(user: User) -> str:
    """Name a person's roles."""
    return ", ".join(sorted(roles_of(user))) or "no role"
