from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    verbose_name = "Countersign"

    def ready(self) -> None:
        import approvals.audit.signals
        import approvals.conf.checks
        import approvals.live.signals  # noqa: F401
