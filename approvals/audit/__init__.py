"""The audit log: append, sign, verify, export. The only writer of AuditEntry.

Each entry's hash covers its number, the hash before it and its body (RFC 8785 canonical JSON), so a changed, removed,
added or moved entry breaks the chain at the first entry that is wrong. An entry is written in the transaction of what
it tells: if it cannot be written, nothing happened. Bodies hold names, ids and digests; never a state or a comment.
Texts stand beside the entries, and signed heads, outside the database, say how far the log had come and with what.
"""

from approvals.audit.actions import ACTIONS
from approvals.audit.chain import entry_hash
from approvals.audit.log import WORKER, append, append_by_console, append_by_worker, append_refusal, transaction
from approvals.audit.rows import Told, key_of, told
from approvals.audit.verifier import verify
from approvals.audit.walk import CannotCheck, Verification

__all__ = [
    "ACTIONS",
    "CannotCheck",
    "Told",
    "WORKER",
    "Verification",
    "append",
    "append_by_console",
    "append_by_worker",
    "append_refusal",
    "entry_hash",
    "key_of",
    "told",
    "transaction",
    "verify",
]
