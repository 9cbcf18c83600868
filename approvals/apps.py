import gc

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    verbose_name = "Countersign"

    def ready(self) -> None:
        import approvals.audit.signals
        import approvals.conf.checks
        import approvals.live.signals  # noqa: F401

        gc.freeze()  # all of it stays: to look through it for garbage again and again is a quarter of a start
        gc.enable()  # who starts a process has it disabled until here
