"""Every table of `make bench` can be made. `http` is left out: it installs other servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import TABLES

ROOT = Path(__file__).parents[2]
SMALL = {
    "BENCH_ENTRIES": "2000",
    "BENCH_OPEN": "1500",
    "BENCH_QUESTIONS": "2",
    "BENCH_ROUNDS": "8",
    "BENCH_SECONDS": "2",
    "BENCH_SOCKETS": "20",
}


@pytest.mark.full
@pytest.mark.parametrize("table", [name for name in TABLES if name != "http"])
def test_a_table_can_be_made(table: str, tmp_path: Path) -> None:
    without = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    env = {**without, **SMALL, "DATA_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks", table], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    rows = json.loads((tmp_path / "bench" / f"{table}.json").read_text())
    assert rows and all(row.keys() == rows[0].keys() for row in rows)
