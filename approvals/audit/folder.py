"""The files in AUDIT_DIR, outside the database: the private key, the public keys, and the signed heads.

The file `heads` only grows: each note is followed by an empty line. A note without that line was cut off by a crash and
does not count.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.conf import settings
from fasteners import InterProcessLock

from approvals.audit.notes import BadKey, Key, PublicKey, parse_key
from approvals.audit.walk import CannotCheck

SIGNATURE = "— "
"""First character of the last line of a note, and of no other line."""


class KeptNote(NamedTuple):
    """A note of the file, and where it begins and ends there, in bytes."""

    begin: int
    end: int
    note: str


def heads_file() -> Path:
    return Path(settings.AUDIT_DIR / "heads")


def public_key_file() -> Path:
    return Path(settings.AUDIT_DIR / "public_key")


def _key_file() -> Path:
    return Path(settings.AUDIT_DIR / "key")


def public_keys(path: Path | None = None) -> list[PublicKey]:
    """Read the public keys, oldest first; empty without a file. Raises CannotCheck."""
    path = path or public_key_file()
    try:
        return [parse_key(line) for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, BadKey) as error:
        raise CannotCheck(f"The file of public keys cannot be read: {_why(error)}") from None


def private_key() -> Key | None:
    """Read the private key, or None. Raises CannotCheck."""
    try:
        private = load_pem_private_key(_key_file().read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CannotCheck(f"The key of the audit log cannot be read: {_why(error)}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise CannotCheck("The key of the audit log is not an Ed25519 key.")
    found = Key("", private)
    names = [key.name for key in public_keys() if key.raw == found.public.raw]
    return Key(names[0], private) if names else None


def keep_key(key: Key) -> None:
    """Write the private key, readable by its owner alone, and append its public key to the earlier ones."""
    settings.AUDIT_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    new = _key_file().with_name("key.new")
    new.unlink(missing_ok=True)
    if key.public not in public_keys():
        _append(public_key_file(), f"{key.public}\n", mode=0o644)
    _append(new, pem.decode(), mode=0o600)
    new.rename(_key_file())
    _sync_folder()


def lock() -> InterProcessLock:
    """Return the lock of the files. It is free again when the process that holds it ends."""
    settings.AUDIT_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    return InterProcessLock(settings.AUDIT_DIR / "lock")


def append_note(note: str) -> int:
    """Append a note to the file of signed heads, wait until it is on disk, and return the end of the file in bytes."""
    is_new = not heads_file().exists()
    settings.AUDIT_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    end = _append(heads_file(), note + "\n", mode=0o644)
    if is_new:
        _sync_folder()
    return end


def write_heads(notes: Iterable[str]) -> None:
    """Write a file of signed heads where there is none."""
    new = heads_file().with_name("heads.new")
    settings.AUDIT_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    new.unlink(missing_ok=True)
    with new.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{note}\n" for note in notes)
        file.flush()
        os.fsync(file.fileno())
    new.rename(heads_file())
    _sync_folder()


def size_of_heads() -> int | None:
    """Return the size in bytes of the file of signed heads, or None without a file."""
    try:
        return heads_file().stat().st_size
    except FileNotFoundError:
        return None


def iter_heads(start: int = 0) -> Iterator[KeptNote]:
    """Yield the complete notes of the file from byte `start` on; none without a file. Raises CannotCheck."""
    try:
        with heads_file().open("rb") as file:
            file.seek(start)
            end, lines = start, list[bytes]()
            for line in file:
                end += len(line)
                if line == b"\n" and lines and lines[-1].startswith(SIGNATURE.encode()):
                    yield KeptNote(start, end, b"".join(lines).decode("utf-8", "replace"))
                    start, lines = end, []
                else:
                    lines.append(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotCheck(f"The file of signed heads cannot be read: {_why(error)}.") from None


def cut_heads(end: int) -> None:
    """Remove what a crash left behind the last complete note."""
    os.truncate(heads_file(), end)


def _append(path: Path, text: str, *, mode: int) -> int:
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _sync_folder() -> None:
    folder = os.open(settings.AUDIT_DIR, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _why(error: Exception) -> str:
    return error.strerror or "error" if isinstance(error, OSError) else str(error) or type(error).__name__
