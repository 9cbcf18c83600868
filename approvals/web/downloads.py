"""Copies as downloads: of the log, of a thread."""

import re
from collections.abc import AsyncIterator, Callable
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import IO

from django.http import StreamingHttpResponse
from django.utils import timezone

from approvals.actions.audit_log.exports import export_audit
from approvals.actions.threads.exports import export_thread
from approvals.actions.threads.whole_values import Whole
from approvals.audit.filters import Filters
from approvals.domain.permissions import User

TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
CHUNK = 256 * 1024


def download(*, format: str, filters: Filters, by: User) -> StreamingHttpResponse:
    """Answer with a copy of the log. Raises Denied."""
    name = f"audit-{_now()}{'-part' if filters else ''}.{format}"
    return _streamed(name, format, lambda out: export_audit(out, format=format, filters=filters, by=by))


def download_thread(*, thread_id: str, by: User) -> StreamingHttpResponse:
    """Answer with a copy of a thread, as JSON Lines. Raises Denied or NotFound."""
    name = f"thread-{re.sub(r'[^0-9A-Za-z_-]', '_', thread_id)[:80]}-{_now()}.jsonl"
    return _streamed(name, "jsonl", lambda out: export_thread(out, thread_id=thread_id, by=by))


def whole_of(whole: Whole) -> StreamingHttpResponse:
    """Answer with a value as it is. A browser shows text as text, whatever it holds; bytes are saved."""
    how = "attachment" if whole.type == "application/msgpack" else "inline"
    headers = {"Content-Disposition": f'{how}; filename="{whole.name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(whole.slices(), content_type=whole.type, headers=headers)


def _now() -> str:
    return f"{timezone.now():%Y%m%dT%H%M%S}"


def _streamed(name: str, format: str, write: Callable[[IO[str]], int]) -> StreamingHttpResponse:
    """By way of a file: a slow reader holds no transaction open, and what fails half-way is told as such."""
    file = TemporaryFile()
    try:
        text = TextIOWrapper(file, encoding="utf-8", newline="\n", write_through=True)
        write(text)
        text.detach().seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingHttpResponse(
        _chunks(file),
        content_type=f"{TYPES[format]}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
