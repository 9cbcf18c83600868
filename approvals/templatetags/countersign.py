"""Template filters and tags: text from outside, times, the badge and the notice of every page."""

from collections.abc import Iterable
from datetime import datetime
from html import escape

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from approvals.actions.people import changes
from approvals.compiled import planned_by_value
from approvals.counts import Count, Counted, read
from approvals.domain import folds, queries, text
from approvals.domain.permissions import User, roles_of
from approvals.domain.text import visible
from approvals.live import relay
from approvals.presenters.approvals import ActionShown, told_of
from approvals.presenters.values import label_of

register = template.Library()
SOON_SECONDS = 3600


register.filter("visible", text.visible)
register.filter("visible_text", text.plain_visible)
register.filter("named", label_of)


@register.filter
def spaced(value: object) -> SafeString:
    """Draw a text as `visible` does, and replace long runs of spaces or blank lines by their length."""
    drawn = ((visible(part), words) for part, words in folds.gaps(str(value)))
    return mark_safe("".join(part + (_gap(words) if words else "") for part, words in drawn))


def _gap(words: str) -> SafeString:
    return format_html('<span class="gap{}">{}</span>', " gap-lines" if words.endswith("lines") else "", words)


@register.filter
def agent_speaks(actions: Iterable[ActionShown]) -> bool:
    return any(action.agent_says for action in actions)


@register.filter
def behind_fold(actions: Iterable[ActionShown]) -> list[ActionShown]:
    return [action for action in actions if action.is_folded]


@register.filter
def told_of_actions(actions: Iterable[ActionShown]) -> str:
    """Count and name the actions behind the fold of a question."""
    return told_of("action", [label_of(action.name) for action in actions])


@register.simple_tag
def moment(at: datetime | None) -> str:
    """Render a time in UTC; the page's script converts it to the reader's zone."""
    if at is None:
        return ""
    return format_html('<time datetime="{}" title="{}" data-moment>{}</time>', at.isoformat(), _utc(at), _utc(at))


@register.simple_tag
def age(at: datetime | None) -> str:
    """Render how long ago a time was; the time itself on hover."""
    if at is None:
        return ""
    words = escape(text.words_for((timezone.now() - at).total_seconds()))
    return mark_safe(f'<time datetime="{at.isoformat()}" title="{_utc(at)}" data-age>{words}</time>')


@register.simple_tag
def left(until: datetime) -> str:
    """Render how much time is left."""
    minutes = max(1, round((until - timezone.now()).total_seconds() / 60))
    markup = '<time datetime="{}" title="{}" data-left>{} min left</time>'
    return format_html(markup, until.isoformat(), _utc(until), minutes)


@register.simple_tag
def due(at: datetime | None) -> str:
    """Render how long until a deadline, or since, with a colour."""
    if at is None:
        return ""
    seconds = (at - timezone.now()).total_seconds()
    urgency = "over" if seconds <= 0 else "soon" if seconds < SOON_SECONDS else "later"
    words = f"{text.words_for(-seconds)} overdue" if seconds <= 0 else f"due in {text.words_for(seconds)}"
    markup = f'datetime="{at.isoformat()}" title="{_utc(at)}" class="due due-{urgency}" data-due'
    return mark_safe(f"<time {markup}>{escape(words)}</time>")


@register.simple_tag
def due_in(at: datetime) -> str:
    """Render how long until a deadline in a column that says so: `in 26 min`, `3 min over`."""
    words = due(at).replace("due in ", "in ").replace(" overdue<", " over<")
    return mark_safe(words.replace(" data-due>", ' data-due="short">'))


_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _utc(at: datetime) -> str:
    # Not by `strftime`, which takes ten times as long: a list has a hundred times.
    return f"{at.day:02} {_MONTHS[at.month]} {at.year}, {at.hour:02}:{at.minute:02} UTC"


@register.simple_tag(takes_context=True)
def open_count(context: Context, user: User) -> Count:
    """Return how many approvals wait for this person: the view's own count, as `badge`, if it has one."""
    if "badge" not in context:
        with planned_by_value():
            context["badge"] = read(badge=Counted(queries.for_menu(user)))["badge"]
    counted: Count = context["badge"]
    return counted


@register.simple_tag
def open_changes() -> int:
    """Return how many changes wait for another admin."""
    return changes.open_changes().count()


@register.simple_tag
def live_notice() -> str:
    """Return a sentence while this process is not told of changes, else an empty one."""
    if not relay.is_down():
        return ""
    return "Live updates are off: changes show within 15 s. Decisions are not affected."


@register.simple_tag
def roles(user: User) -> str:
    """Return the names of a person's roles."""
    return ", ".join(sorted(roles_of(user))) or "no role"
