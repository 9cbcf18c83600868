"""Admin pages for policies, people and groups, on Django's admin. Our roles apply; each change is an entry."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import Group, User
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator

from approvals import audit
from approvals.actions.people import changes, people, policies
from approvals.domain import context, editable, permissions, rulebook, voters
from approvals.domain.policies import MOST_APPROVALS, MOST_MINUTES, POLICY_FIELDS, Rule, Voters
from approvals.enums import ChangeKind
from approvals.errors import NotFound
from approvals.models import AuditEntry, Policy, PolicyVersion
from approvals.models import Graph as GraphRow
from approvals.presenters.policies import who_votes
from approvals.presenters.versions import Version, entries_of, versions_of


class Site(admin.AdminSite):
    site_header = site_title = "Countersign"
    index_title = "Who decides, and who is who"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return permissions.can_set_policy(request.user)

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Redirect to our sign-in page; a signed-in person who is no admin reads why they are refused."""
        if not request.user.is_authenticated:
            return redirect_to_login(request.GET.get("next") or "/admin/")
        permissions.check_set_policy(request.user)
        return redirect("admin:index")


site = Site(name="admin")

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _PolicyForm = forms.ModelForm[Policy]
    _PersonForm = forms.ModelForm[User]
else:
    _ModelAdmin, _PolicyForm, _PersonForm = admin.ModelAdmin, forms.ModelForm, forms.ModelForm


class _ForAdmins(_ModelAdmin):
    """Grants access by our roles, and leaves Django's own log empty: the audit log has each change."""

    actions = None
    history_template = "admin/versions.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return permissions.can_set_policy(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.can_set_policy(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can_set_policy(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.can_set_policy(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.can_set_policy(request.user)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Remove the links that create or change related rows: these have pages of their own."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(getattr(field, "widget", None), RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write nothing: the audit log has the entry."""

    log_change = log_addition

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Write nothing: the audit log has the entry."""

    kind: ChangeKind

    def proposed(self, obj: Any, form: Any) -> Any:
        """Return what the form asks for, as a change keeps it."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the change, or propose it under the two-admin rule."""
        form.change = None
        if self.kind != ChangeKind.GROUP and changes.is_guarded():
            after = self.proposed(obj, form)
            form.change = changes.propose(self.kind, obj.pk, str(obj)[:620], after, by=request.user)
            _tell_proposed(request)
        else:
            self.save_now(request, obj, form, change)

    def save_now(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if form.change is None:
            super().save_related(request, form, formsets, change)
            self.note(request, form, change)

    def note(self, request: HttpRequest, form: Any, change: bool) -> None:
        """Write down what was just saved."""
        raise NotImplementedError

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        if changes.is_guarded():
            changes.propose(self.kind, obj.pk, str(obj)[:620], None, by=request.user)
            _tell_proposed(request)
        else:
            self.delete_now(request, obj)

    def delete_now(self, request: HttpRequest, obj: Any) -> None:
        raise NotImplementedError

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return _to_changes(request) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return _to_changes(request) or super().response_change(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        return _to_changes(request) or super().response_delete(request, obj_display, obj_id)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        found = self.get_object(request, object_id)
        if found is None:
            raise NotFound("There is no such thing any more. The audit log has what happened to it.")
        context = self.admin_site.each_context(request) | {
            "title": f"History of {found}",
            "versions": self.versions(found),
            "object": found,
            "opts": self.opts,
        }
        return TemplateResponse(request, self.history_template, context)

    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        with context.telling(), audit.transaction():  # the called actions write the entries, with the person who asked
            return super().changeform_view(*args, **kwargs)

    def delete_view(self, *args: Any, **kwargs: Any) -> Any:
        with audit.transaction():
            return super().delete_view(*args, **kwargs)

    def versions(self, found: Any) -> list[Version]:
        raise NotImplementedError


def _tell_proposed(request: HttpRequest) -> None:
    request.is_proposed = True  # type: ignore[attr-defined]
    messages.info(request, "Proposed. It counts once another admin has confirmed it.")


def _to_changes(request: HttpRequest) -> HttpResponse | None:
    return redirect("changes") if getattr(request, "is_proposed", False) else None


FLAGS = ("one_reject_ends", "may_decide_own", "needs_reason")
EDITS = {"all": "everything", "some": "only what is named", "none": "nothing"}


class PolicyForm(_PolicyForm):
    edits = forms.ChoiceField(
        choices=list(EDITS.items()),
        initial="all",
        label="What may be edited",
        help_text="Channels of the state, and arguments of a tool call.",
    )
    named = forms.CharField(
        required=False,
        label="Names",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 40}),
        help_text="One in a line: a channel or an argument, such as amount, or something in one, such as draft.text"
        " or items.*.price.",
    )

    class Meta:
        model = Policy
        exclude: Iterable[str] = ("may_edit",)
        help_texts = {
            "graph_id": "Leave empty for every graph.",
            "node": "The node that waits. Leave empty for every node.",
            "tool": "Only when this tool would be called. Leave empty for every tool."
            " A policy on a tool counts before one on a node, and that before one on a graph.",
            "approvals": f"How many people must approve the same thing, 1 to {MOST_APPROVALS}.",
            "people": "Who may vote. With nobody and no group named, every reviewer may. They must be reviewers too.",
            "groups": "Members of these groups may vote as well as the people named.",
            "one_reject_ends": "Without it, one rejection ends it only when too few are left to approve.",
            "may_decide_own": "Without it, nobody votes on a thread that they gave its input, forked or replayed.",
            "edit_needs_another": "Who proposes an edit, an answer or to skip a node then does not count as one who"
            " approves it.",
            "needs_reason": "A rejection needs one always.",
            "deadline_minutes": "Minutes from the question. Leave empty for no deadline.",
            "on_deadline": "Nothing is ever approved by itself.",
            "escalate_to": "Members of these groups may vote as well after the deadline; with none, every reviewer.",
            "on_crash": "When a worker dies while the node may have been running.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [*GraphRow.objects.order_by("pk").values_list("pk", flat=True)]
        if self.instance.graph_id and self.instance.graph_id not in known:
            known.append(self.instance.graph_id)
        choices = [("", "every graph"), *((name, name) for name in known)]
        self.fields["graph_id"] = forms.ChoiceField(
            choices=choices, required=False, label="Graph", help_text=self.fields["graph_id"].help_text
        )

        entries = self.instance.may_edit
        self.initial.setdefault("edits", "all" if entries is None else "some" if entries else "none")
        self.initial.setdefault("named", "\n".join(entries or ()))

    def clean_approvals(self) -> int:
        return self._within("approvals", MOST_APPROVALS)

    def clean_deadline_minutes(self) -> int | None:
        given = self.cleaned_data["deadline_minutes"]
        return None if given is None else self._within("deadline_minutes", MOST_MINUTES)

    def _within(self, name: str, most: int) -> int:
        number = int(self.cleaned_data[name])
        if not 1 <= number <= most:
            raise forms.ValidationError(f"A whole number from 1 to {most}.")
        return number

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("escalate_to") and given.get("deadline_minutes") is None:
            self.add_error("escalate_to", "Only with a deadline: say after how many minutes, or choose no group.")
        if given.get("node") and (told := _no_such_node(given.get("graph_id", ""), given["node"])):
            self.add_error("node", told)
        if not self.errors and (told := _too_few(given)):
            self.add_error("approvals", told)
        self.instance.may_edit = self._may_edit(given)
        return given

    def _may_edit(self, given: dict[str, Any]) -> list[str] | None:
        names = [line.strip() for line in given.get("named", "").splitlines() if line.strip()]
        if given.get("edits") != "some":
            if names:
                self.add_error("named", f"Leave this empty, or choose {EDITS['some']}.")
            return [] if given.get("edits") == "none" else None
        if not names:
            self.add_error("named", f"Name something, or choose {EDITS['none']}.")
        try:
            return list(editable.checked(names) or ())
        except ValueError as error:
            self.add_error("named", f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return None


def _no_such_node(graph_id: str, node: str) -> str:
    graph = GraphRow.objects.filter(pk=graph_id).first()
    nodes = [item["id"] for item in graph.card["nodes"]] if graph else []
    return f"{graph_id} has no such node. It has: {', '.join(nodes)}." if nodes and node not in nodes else ""


def _too_few(given: dict[str, Any]) -> str:
    names = tuple(person.get_username() for person in given["people"])
    groups = tuple(group.name for group in given["groups"])
    rule = Rule(voters=(Voters(names, groups),) if names or groups else ())
    number = voters.count(rule, is_escalated=False)
    reviewers = f"{number} reviewer{'s' * (number != 1)} may vote."
    if number < given["approvals"]:
        return f"{given['approvals']} approvals can never be reached: {reviewers}"
    if given["edit_needs_another"] and number == given["approvals"]:
        return f"No edit could ever be approved, as who proposes it does not count: {reviewers}"
    return ""


@admin.register(Policy, site=site)
class PolicyAdmin(_ForAdmins):
    kind = ChangeKind.POLICY
    form = PolicyForm
    list_display = (
        "__str__", "approvals", "voters", *FLAGS,
        "deadline_minutes", "on_deadline", "escalates_to", "on_crash", "version",
    )  # fmt: skip
    list_filter = ("graph_id", "approvals", "needs_reason", "on_deadline", "on_crash")
    search_fields = ("graph_id", "node", "tool")
    ordering = ("graph_id", "node", "tool")
    filter_horizontal = ("people", "groups", "escalate_to")
    fieldsets = (
        ("Where it counts", {"fields": ("graph_id", "node", "tool")}),
        ("Who decides", {"fields": ("approvals", "people", "groups", *FLAGS)}),
        ("What may be edited", {"fields": ("edits", "named", "edit_needs_another")}),
        ("When nobody does", {"fields": ("deadline_minutes", "on_deadline", "escalate_to")}),
        ("When a worker dies", {"fields": ("on_crash",)}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        return super().get_queryset(request).prefetch_related("people", "groups", "escalate_to")

    @admin.display(description="Who may vote")
    def voters(self, policy: Policy) -> str:
        return who_votes(rulebook.rule_of(policy))

    @admin.display(description="Escalates to")
    def escalates_to(self, policy: Policy) -> str:
        return ", ".join(group.name for group in policy.escalate_to.all())

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "people":
            kwargs["queryset"] = User.objects.filter(is_active=True).order_by("username")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def proposed(self, obj: Policy, form: Any) -> Any:
        given = form.cleaned_data
        return {
            **{name: getattr(obj, name) for name in POLICY_FIELDS},
            "people": sorted(person.get_username() for person in given["people"]),
            **{name: sorted(group.name for group in given[name]) for name in ("groups", "escalate_to")},
        }

    def note(self, request: HttpRequest, form: Any, change: bool) -> None:
        if form.has_changed() or not change or not policies.is_told(form.instance):
            policies.note_change(form.instance, by=request.user)

    def delete_now(self, request: HttpRequest, obj: Policy) -> None:
        policies.remove_policy(obj, by=request.user)

    def versions(self, found: Policy) -> list[Version]:
        return versions_of(list(PolicyVersion.objects.filter(policy_id=found.pk).order_by("version")))


class PersonForm(_PersonForm):
    by: User

    class Meta:
        model = User
        fields = ("username", "is_active", "groups")
        help_texts = {
            "username": "",
            "is_active": "Without it they cannot sign in, and their tokens do not work. People are never removed:"
            " the record names them.",
            "groups": "viewer, reviewer, operator, auditor and admin are roles; others are for policies to name.",
        }

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        names = [group.name for group in given.get("groups", ())]
        is_active = bool(given.get("is_active"))
        if told := people.why_not_change(self.instance, is_active=is_active, groups=names, by=self.by):
            self.add_error(None, told)
        return given


@admin.register(User, site=site)
class PersonAdmin(_ForAdmins):
    kind = ChangeKind.PERSON
    form = PersonForm
    list_display = ("username", "is_active", "roles", "last_login")
    list_filter = ("is_active", "groups")
    search_fields = ("username",)
    ordering = ("username",)
    filter_horizontal = ("groups",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made: Any = super().get_form(request, obj, change, **kwargs)
        made.by = request.user
        return made

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("username",) if obj else ()  # votes and policies refer to the name

    @admin.display(description="Groups")
    def roles(self, person: User) -> str:
        return ", ".join(sorted(group.name for group in person.groups.all()))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def proposed(self, obj: User, form: Any) -> Any:
        groups = sorted(group.name for group in form.cleaned_data["groups"])
        return {"active": bool(form.cleaned_data["is_active"]), "groups": groups}

    def save_now(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        form.before = people.rights_of(User.objects.get(pk=obj.pk)) if change else None
        if not change:
            obj.set_unusable_password()
        super().save_now(request, obj, form, change)

    def note(self, request: HttpRequest, form: Any, change: bool) -> None:
        people.note_change(form.instance, before=form.before, by=request.user)

    def versions(self, found: User) -> list[Version]:
        return entries_of(list(_entries("person", found.username)))


@admin.register(Group, site=site)
class GroupAdmin(_ForAdmins):
    kind = ChangeKind.GROUP
    fields = ("name",)
    list_display = ("name", "members")
    ordering = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()  # roles and rules of open questions refer to the name

    @admin.display(description="Members")
    def members(self, group: Group) -> str:
        return ", ".join(User.objects.filter(groups=group).order_by("username").values_list("username", flat=True))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request) and (obj is None or not people.why_not_remove(obj))

    def note(self, request: HttpRequest, form: Any, change: bool) -> None:
        # An empty group that no policy names grants nothing: one admin may create it.
        people.note_group(form.instance, by=request.user)

    def delete_now(self, request: HttpRequest, obj: Group) -> None:
        people.remove_group(obj, by=request.user)

    def versions(self, found: Group) -> list[Version]:
        return entries_of(list(_entries("group", found.name)))


def _entries(kind: str, name: str) -> QuerySet[AuditEntry]:
    """Select the entries about one person or group: bodies are canonical JSON, so the text to look for is known."""
    about = json.dumps({kind: name}, separators=(",", ":"), ensure_ascii=False).strip("{}")
    return AuditEntry.objects.filter(action="person.changed", body__contains=about).order_by("seq")
