"""Signed heads: C2SP signed notes (Ed25519) that say how far the log had come.

The text of a note is a C2SP checkpoint: origin, size (the number of the newest entry), root (the hash of that entry,
base64). Our lines follow: the note before it, the time, and the hash of each entry since. So a changed entry can be
named even if all later hashes were computed anew.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
NONE = "none"
"""The previous note of the first note."""
SHAPE = re.compile(
    r"(?P<text>(?P<origin>[^\n]+)\n(?P<size>[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n"
    r"previous (?P<previous>none|[0-9a-f]{64})\ntime (?P<at>[0-9T:.+-]+)\n"
    r"(?P<entries>(?:entry [0-9]+ [0-9a-f]{64}\n)*))"
    r"\n— (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/=]+)\n"
)


class BadNote(Exception):
    """The reason why a note is not valid."""


class BadKey(Exception):
    """The text is not a public key of the form `name+id+base64`."""


@dataclass(frozen=True)
class PublicKey:
    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.raw).decode()}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(str(self).encode()).hexdigest()

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Key:
    """A private key and the name it signs with."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the note: the text, a blank line, the signature line."""
        signature = base64.b64encode(self.public.id + self.private.sign(text.encode())).decode()
        return f"{text}\n— {self.name} {signature}\n"


@dataclass(frozen=True)
class Note:
    """The content of a note. `hashes` are those of the entries since the note before, oldest first."""

    origin: str
    size: int
    root: str
    previous: str
    at: str
    hashes: tuple[str, ...]

    @property
    def first(self) -> int:
        """The number of the first entry that the note lists; of a note without entries, the newest that it covers."""
        return self.size - max(len(self.hashes) - 1, 0)

    @property
    def text(self) -> str:
        root = base64.b64encode(bytes.fromhex(self.root)).decode()
        begin = self.size - len(self.hashes) + 1
        entries = "".join(f"entry {seq} {each}\n" for seq, each in enumerate(self.hashes, begin))
        return f"{self.origin}\n{self.size}\n{root}\nprevious {self.previous}\ntime {self.at}\n{entries}"


def digest(note: str) -> str:
    """Name a note: SHA-256 of all its bytes."""
    return hashlib.sha256(note.encode()).hexdigest()


def parse_key(line: str) -> PublicKey:
    """Parse `name+id+base64`. Raises BadKey."""
    try:
        name, _, encoded = line.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        found = PublicKey(name, raw[1:])
    except ValueError:
        raise BadKey("A public key is one line: name+id+base64.") from None
    if raw[:1] != ED25519 or len(raw) != 33 or str(found) != line.strip():
        raise BadKey("A public key is one line, name+id+base64, of type Ed25519, and its id must fit it.")
    return found


def read_head(note: str) -> Note:
    """Parse a note without checking its signature. Raises BadNote."""
    if not (found := SHAPE.fullmatch(note)):
        raise BadNote("A signed head is not written as one.")
    hashes = tuple(line[-64:] for line in found["entries"].splitlines())
    root = base64.b64decode(found["root"]).hex()
    head = Note(found["origin"], int(found["size"]), root, found["previous"], found["at"], hashes)
    if head.text != found["text"]:
        raise BadNote("A signed head is not written as one.")
    return head


def newest_in(text: str) -> str:
    """Return the last note of a text with one or more notes. Raises BadNote."""
    found = [match.group() for match in SHAPE.finditer(text)]
    if not found:
        raise BadNote("There is no signed head in it.")
    return found[-1]


def open_note(note: str, keys: Sequence[PublicKey], *, is_vouched: bool = False) -> tuple[Note, int]:
    """Return the content of a note and the key that signed it. Raises BadNote.

    With `is_vouched` the signature is not checked: a later note names this one, and its signature will be checked.
    """
    head, found = read_head(note), SHAPE.fullmatch(note)
    assert found
    try:
        signed = base64.b64decode(found["signature"], validate=True)
    except binascii.Error:
        raise BadNote("A signed head has a broken signature.") from None
    for index, key in enumerate(keys):
        if (key.name, key.id) == (found["name"], signed[:4]):
            if is_vouched or key.verifies(found["text"], signed[4:]):
                return head, index
            raise BadNote("A signed head was changed: its signature does not fit.")
    raise BadNote("A signed head is by a key that is not known here.")
