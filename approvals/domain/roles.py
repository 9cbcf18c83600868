"""The table of roles and permissions, with the sentence that refuses everybody else. `permissions` reads it."""

from approvals.enums import Role

ROLES_FOR: dict[str, tuple[Role, ...]] = {
    "view": tuple(Role),
    "vote": (Role.REVIEWER,),
    "preview": (Role.REVIEWER, Role.OPERATOR, Role.ADMIN),
    "skip": (Role.OPERATOR, Role.ADMIN),
    "start_run": (Role.OPERATOR, Role.ADMIN),
    "fork": (Role.OPERATOR, Role.ADMIN),
    "replay": (Role.ADMIN,),
    "retry_run": (Role.OPERATOR, Role.REVIEWER, Role.ADMIN),
    "read_audit": (Role.AUDITOR, Role.ADMIN),
    "erase_text": (Role.ADMIN,),
    "bind": (Role.ADMIN,),
    "force_clean": (Role.ADMIN,),
    "set_policy": (Role.ADMIN,),
}
SENTENCES = {
    "view": "You have no role here yet. Ask an admin to add you to a group.",
    "vote": "Only reviewers vote.",
    "preview": "Only reviewers, operators and admins have the graph try an edit.",
    "skip": "Only operators and admins skip a node.",
    "start_run": "Only operators and admins start runs.",
    "fork": "Only operators and admins fork threads.",
    "replay": "Only admins have a thread go back to an earlier checkpoint. Fork it instead.",
    "retry_run": "Only reviewers, operators and admins decide how a stopped run goes on.",
    "read_audit": "Only auditors and admins read the audit log.",
    "erase_text": "Only admins erase texts that stand beside the audit log.",
    "bind": "Only admins say which graph a thread is of.",
    "force_clean": "Only admins force-clean threads.",
    "set_policy": "Only admins change policies and who is in a group.",
}
