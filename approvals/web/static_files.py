"""Static files: texts are compressed, and browsers keep all for good, as their address changes with the content."""

import gzip
from functools import cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import Redirect, StaticFile

_TEXTS = ("text/", "image/svg")


class StaticFilesMiddleware(ServeStaticMiddleware):  # type: ignore[misc]
    """servestatic's own serves what lies compressed beside a file; this compresses it when it is first asked for.

    It also looks for the files only then: the admin has many, and a process would begin to serve later.
    """

    _are_found = False

    def add_files_from_finders(self) -> None:
        pass

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not self._are_found and request.path_info.startswith(self.static_prefix):
            self._are_found = True
            super().add_files_from_finders()
        answer: HttpResponseBase = await super().__call__(request)
        return answer

    @staticmethod
    async def aserve(static_file: StaticFile | Redirect, request: HttpRequest) -> HttpResponseBase:
        plain: HttpResponse = await ServeStaticMiddleware.aserve(static_file, request)
        if plain.status_code != 200 or request.method != "GET" or isinstance(static_file, Redirect):
            return plain
        plain.headers["Vary"] = "Accept-Encoding"
        if "gzip" not in request.headers.get("Accept-Encoding", "") or not plain["Content-Type"].startswith(_TEXTS):
            return plain
        path, _ = static_file.get_path_and_headers(request.META)
        answer = HttpResponse(_compressed(path), headers=plain.headers)
        answer["Content-Encoding"], answer["Content-Length"] = "gzip", str(len(answer.content))
        del answer["ETag"]  # that is of the file as it is
        return answer


@cache
def _compressed(path: str) -> bytes:
    return gzip.compress(Path(path).read_bytes(), mtime=0)
