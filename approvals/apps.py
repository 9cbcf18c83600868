from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    verbose_name = "Countersign"

    def ready(self) -> None:
        from approvals.audit import signals  # noqa: F401
        from approvals.conf import checks  # noqa: F401
