from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    verbose_name = "Countersign"

    def ready(self) -> None:
        from approvals import checks, signals  # noqa: F401
