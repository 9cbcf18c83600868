"""Every address. Sockets are in asgi.py."""

from django.urls import path

from approvals import addresses as _addresses  # noqa: F401 - registers the `any` of thread addresses
from approvals import api
from approvals.admin import site
from approvals.api import health
from approvals.views import (
    approval,
    audit,
    bulk,
    clean,
    forks,
    history,
    queue,
    runs,
    session,
    start,
    threads,
    vote,
    whole,
)

handler500 = "approvals.views.errors.broken"
urlpatterns = [
    path("", queue.queue, name="queue"),
    path("open-count/", queue.open_count, name="open_count"),
    path("sign-in/", session.sign_in, name="sign_in"),
    path("sign-in/<str:token>/", session.sign_in_link, name="sign_in_link"),
    path("sign-out/", session.sign_out, name="sign_out"),
    path("notices/<int:notice_id>/seen/", queue.put_notice_away, name="put_notice_away"),
    path("approvals/bulk/", bulk.bulk, name="bulk"),
    path("approvals/<uuid:approval_id>/", approval.approval, name="approval"),
    path("approvals/<uuid:approval_id>/vote/", vote.vote, name="vote"),
    path("approvals/<uuid:approval_id>/keep/", vote.keep, name="keep"),
    path("approvals/<uuid:approval_id>/withdraw/", vote.withdraw, name="withdraw"),
    path("approvals/<uuid:approval_id>/claim/", vote.claim, name="claim"),
    path("approvals/<uuid:approval_id>/release/", vote.release, name="release"),
    path("approvals/<uuid:approval_id>/preview/", vote.preview, name="preview"),
    path("approvals/<uuid:approval_id>/answer/", vote.answer, name="answer"),
    path("approvals/<uuid:approval_id>/run/", approval.run, name="approval_run"),
    path("approvals/<uuid:approval_id>/standing/", approval.standing, name="approval_standing"),
    path("approvals/<uuid:approval_id>/raw/", approval.raw, name="approval_raw"),
    path("approvals/<uuid:approval_id>/whole/", whole.of_approval, name="approval_whole"),
    path("approvals/<uuid:approval_id>/seen/", whole.see_end, name="see_end"),
    path("approvals/<uuid:approval_id>/receipt/", audit.receipt, name="receipt"),
    path("beside/", queue.side, name="side"),
    path("runs/<uuid:run_id>/retry/", runs.retry_run, name="retry_run"),
    path("runs/<uuid:run_id>/give-up/", runs.give_up_run, name="give_up_run"),
    path("runs/<uuid:run_id>/cancel/", runs.cancel_run, name="cancel_run"),
    path("threads/", threads.threads, name="threads"),
    # Before the page itself: thread ids may have slashes.
    path("threads/<any:thread_id>/history/<slug:checkpoint_id>/", history.checkpoint, name="checkpoint"),
    path("threads/<any:thread_id>/history/<slug:checkpoint_id>/fork/", forks.fork, name="fork"),
    path("threads/<any:thread_id>/history/<slug:checkpoint_id>/replay/", forks.replay, name="replay"),
    path("threads/<any:thread_id>/history/", history.history, name="history"),
    path("threads/<any:thread_id>/compare/", history.compare, name="compare"),
    path("threads/<any:thread_id>/go-on/", forks.go_on, name="go_on"),
    path("threads/<any:thread_id>/ask-again/", runs.ask_again, name="ask_again"),
    path("threads/<any:thread_id>/whole/", whole.of_thread, name="thread_whole"),
    path("threads/<any:thread_id>/force-clean/export/", clean.export_thread, name="export_thread"),
    path("threads/<any:thread_id>/force-clean/", clean.force_clean, name="force_clean"),
    path("threads/<any:thread_id>/", threads.thread, name="thread"),
    path("start/", start.start, name="start"),
    path("start/<str:graph_id>/", start.start_graph, name="start_graph"),
    path("audit/", audit.audit, name="audit"),
    path("audit/verify/", audit.verify_audit, name="verify_audit"),
    path("audit/export/", audit.export_audit, name="export_audit"),
    path("audit/<int:seq>/", audit.entry, name="audit_entry"),
    path("audit/<int:seq>/erase/<str:name>/", audit.erase_text, name="erase_text"),
    path("admin/", site.urls),
    path("api/", api.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
