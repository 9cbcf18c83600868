"""Authors of a thread: who gave its input, forked it, replayed it, or proposed an edit that it went on with."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from approvals.models import Thread


@dataclass(frozen=True)
class Author:
    """A person who gave a thread part of its content. On a fork, `of` is the original thread that they gave it to.

    `after` is where the thread stood at that time: a fork of that checkpoint, or of an earlier one, has nothing of
    theirs.
    """

    name: str
    how: Literal["input", "fork", "replay", "edit"]
    of: str = ""
    after: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def authors_of(plain: Iterable[Mapping[str, str]]) -> list[Author]:
    """Return the authors that a thread stores."""
    return [Author(**each) for each in plain]  # type: ignore[arg-type]


def authors_at(authors: Iterable[Author], checkpoint_id: str, *, thread_id: str) -> list[Author]:
    """Return who had authored the thread up to a checkpoint, for a fork of it. Checkpoint ids grow with time."""
    return [
        replace(author, of=author.of or thread_id)
        for author in authors
        if not author.after or author.after < checkpoint_id
    ]


def keep_author(thread: "Thread", author: Author) -> None:
    """Add an author to the thread. The caller holds the thread's lock and saves `authors`."""
    told = author.as_dict()
    if not any({**each, "after": ""} == {**told, "after": ""} for each in thread.authors):
        thread.authors = [*thread.authors, told]


def starter_of(thread: "Thread") -> str:
    """Return who started the thread. The caller selects `started_by` with the thread."""
    return thread.started_by.get_username() if thread.started_by else ""
