"""Encryption of new secret values: rows, drafts and pages hold ciphertext, and only a worker decrypts it.

A ciphertext is bound to its thread and its place, so it cannot be copied to where it would be shown. Encryption is
deterministic (AES-SIV): the same value gives the same ciphertext, so that two votes for one edit agree. Padding hides
the length.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.conf import settings

from agentcore.plain.errors import Fault
from agentcore.plain.masks import CHANGED, MASK, TYPE_ANEW
from approvals.errors import InvalidEdit

PREFIX = "sealed:"
_BLOCK = 256  # bytes
Replacement = Callable[[Any, str], Any]


def encrypted(edits: Any, secrets: Iterable[str], thread_id: str) -> Any:
    """Return the edits with each new secret encrypted. Anything that is no edit is returned unchanged."""
    return _changed(edits, secrets, lambda value, place: _encrypted(value, f"{thread_id}\0{place}"))


def decrypted(edits: Any, secrets: Iterable[str], thread_id: str) -> Any:
    """Return the edits with the plain values. Raises InvalidEdit for a ciphertext of another key, thread or place."""
    return _changed(edits, secrets, lambda value, place: _decrypted(value, f"{thread_id}\0{place}"))


def encrypted_input(given: Any, secrets: Iterable[str], thread_id: str) -> Any:
    """Return the input of a run with each secret encrypted."""
    return _values(encrypted(_edits(given), secrets, thread_id))


def decrypted_input(given: Any, secrets: Iterable[str], thread_id: str) -> Any:
    """Return the input of a run with the plain values. Raises InvalidEdit as `decrypted` does."""
    return _values(decrypted(_edits(given), secrets, thread_id))


def _edits(given: Any) -> Any:
    """Convert an input to the layout of edits."""
    return {name: {"value": value} for name, value in given.items()} if isinstance(given, Mapping) else given


def _values(edits: Any) -> Any:
    return {name: edit["value"] for name, edit in edits.items()} if isinstance(edits, Mapping) else edits


def masked(edits: Any, secrets: Iterable[str]) -> Any:
    """Return the edits with masks, as people are shown them."""
    return _changed(edits, secrets, lambda value, place: MASK if value == MASK else CHANGED)


def is_encrypted(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def _changed(edits: Any, secrets: Iterable[str], replacement: Replacement) -> Any:
    if not isinstance(edits, Mapping):
        return edits
    found = dict(edits)
    for secret in secrets:
        name, *inside = secret.split(".")
        edit = found.get(name)
        if isinstance(edit, Mapping) and "value" in edit:
            found[name] = {**edit, "value": _at(edit["value"], inside, secret, replacement)}
    return found


def _at(value: Any, inside: list[str], secret: str, replacement: Replacement) -> Any:
    if not inside:
        return value if value is None else replacement(value, secret)
    if isinstance(value, list):
        return [_at(item, inside, secret, replacement) for item in value]
    if isinstance(value, Mapping) and inside[0] in value:
        return {**value, inside[0]: _at(value[inside[0]], inside[1:], secret, replacement)}
    return value


def _encrypted(value: Any, place: str) -> Any:
    if is_encrypted(value) or value in (MASK, CHANGED):
        return value
    text = json.dumps(value).encode()
    padded = text + b" " * (-len(text) % _BLOCK)
    return PREFIX + base64.urlsafe_b64encode(_keys()[0].encrypt(padded, [place.encode()])).decode()


def _decrypted(value: Any, place: str) -> Any:
    if not is_encrypted(value):
        return value
    for key in _keys():
        try:
            return json.loads(key.decrypt(base64.urlsafe_b64decode(value.removeprefix(PREFIX)), [place.encode()]))
        except (InvalidTag, ValueError):
            continue
    raise InvalidEdit(TYPE_ANEW, faults=[Fault(place.partition("\0")[2].partition(".")[0], TYPE_ANEW).as_dict()])


def _keys() -> list[AESSIV]:
    given = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [AESSIV(hashlib.sha512(b"countersign seals\0" + str(key).encode()).digest()) for key in given]
