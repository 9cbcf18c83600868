"""The hash chain: what an entry's hash covers. Plain values only, so that it can be checked anywhere."""

import hashlib
from typing import NamedTuple

DOMAIN = b"countersign-audit-v1"
GENESIS = "0" * 64
"""The previous hash of the first entry."""

SALT_LENGTH = 64
"""Hex digits of a salt. Fixed, because moving letters between salt and text would give the same digest."""


class Entry(NamedTuple):
    """One entry as stored. In an export the columns are empty: the body holds everything."""

    seq: int
    prev_hash: str
    hash: str
    body: str
    columns: tuple[object, ...] | None = None


class EntryText(NamedTuple):
    """A text that belongs to an entry. After erasure both salt and text are empty."""

    seq: int
    name: str
    salt: str
    text: str


def entry_hash(seq: int, prev_hash: str, body: str) -> str:
    """Return SHA-256 over the domain tag, number, previous hash, length of the body, and body, each on a line."""
    text = body.encode()
    return hashlib.sha256(b"%s\n%d\n%s\n%d\n%s" % (DOMAIN, seq, prev_hash.encode(), len(text), text)).hexdigest()


def text_digest(salt: str, text: str) -> str:
    """Return SHA-256 of salt and text. Without the salt nobody can find a short text by trying."""
    return hashlib.sha256(salt.encode() + text.encode()).hexdigest()
