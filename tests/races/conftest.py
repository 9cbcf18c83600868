"""One arena for the files that kill."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.console import stop_postgres
from tests.races.asking import KINDS
from tests.races.forked import Arena, open_arena
from tests.races.questions import call


@pytest.fixture(scope="session")
def arena(database: str, data_dir: Path) -> Iterator[Arena]:
    with open_arena(_folder(data_dir), servers.clone()) as opened:
        yield opened


@pytest.fixture(scope="session")
def at_questions(arena: Arena) -> list[str]:
    """Return the ids of threads at the first question of each graph that asks, which they are named after."""
    graphs = [graph for kind in KINDS for graph in (kind, f"{kind}_resuming")]
    call(arena, "carry_out_in_turn", [arena.call("start", graph, [graph])[0] for graph in graphs])
    return graphs


@pytest.fixture(scope="module")
def own_postgres(database: str, data_dir: Path) -> Iterator[Path]:
    """A folder with a PostgreSQL that a test may kill, filled as every other; it is stopped at the end."""
    folder = _folder(data_dir)
    servers.fill_own(folder)
    yield folder
    if (folder / "postgres" / "postmaster.pid").exists():
        stop_postgres(folder)


def _folder(data_dir: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="arena-", dir=data_dir))
    folder.chmod(0o755)  # PostgreSQL's own user looks into it
    return folder
