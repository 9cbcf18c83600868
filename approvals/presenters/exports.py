"""A copy of the log as a download."""

from collections.abc import AsyncIterator
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import IO

from django.http import StreamingHttpResponse
from django.utils import timezone

from approvals.actions.export_audit import export_audit
from approvals.audit.filters import Filters
from approvals.permissions import User

TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
CHUNK = 256 * 1024


def download(*, format: str, filters: Filters, by: User) -> StreamingHttpResponse:
    """Answer with a copy, by way of a file: a slow reader holds no transaction open. Raises Denied."""
    file = TemporaryFile()
    try:
        text = TextIOWrapper(file, encoding="utf-8", newline="\n", write_through=True)
        export_audit(text, format=format, filters=filters, by=by)
        text.detach().seek(0)
    except BaseException:
        file.close()
        raise
    name = f"audit-{timezone.now():%Y%m%dT%H%M%S}{'-part' if filters else ''}.{format}"
    return StreamingHttpResponse(
        _chunks(file),
        content_type=f"{TYPES[format]}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
