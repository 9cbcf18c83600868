"""One arena for the files that kill."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.races.forked import Arena, open_arena


@pytest.fixture(scope="session")
def arena(data_dir: Path) -> Iterator[Arena]:
    folder = Path(tempfile.mkdtemp(prefix="arena-", dir=data_dir))
    folder.chmod(0o755)
    with open_arena(folder) as opened:
        yield opened
