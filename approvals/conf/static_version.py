"""Where templates and static files are, and the version of the static files: part of their address, so that browsers
keep them for good.
"""

import hashlib
from pathlib import Path
from wsgiref.headers import Headers

import django
import django_htmx


def files_beside(base: Path) -> Path:
    """Return the folder with `templates` and `static`: that of a clone; in a wheel they are inside the package."""
    installed = base / "approvals" / "assets"
    return installed if installed.is_dir() else base


def static_version(folder: Path) -> str:
    """Return 12 hexadecimal digits that change when a file in the folder or in a library does."""
    digest = hashlib.sha256(django.__version__.encode())  # the admin has hundreds of files, the same for each version
    for root in (folder, Path(django_htmx.__file__).parent / "static"):
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            digest.update(str(file.relative_to(root)).encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def keep_for_good(headers: Headers, path: str, url: str) -> None:
    """Have browsers keep a static file for a year, without asking whether it changed."""
    headers["Cache-Control"] = "max-age=31536000, public, immutable"
