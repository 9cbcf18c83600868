"""`make bench`: every table in one run, ours beside the plain library. `BENCH=name` runs one."""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

TABLES = "approve audit bound decide history http idle push questions queue resumed saver".split()


def main() -> None:
    wanted = sys.argv[1:] or TABLES
    unknown = set(wanted) - set(TABLES)
    if unknown:
        sys.exit(f"There is no table {', '.join(unknown)}. There are: {', '.join(TABLES)}.")
    out = Path(os.environ.get("DATA_DIR") or ".data").resolve() / "bench"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the embedded server runs as another user when we are root
        _use(Path(folder))
        for name in wanted:
            rows = importlib.import_module(f"benchmarks.{name}").table()
            (out / f"{name}.json").write_text(json.dumps(rows, indent=2))
            _show(name, rows)


def _use(folder: Path) -> None:
    """Set up a console of its own, in a folder that goes away."""
    os.environ.update(
        DATA_DIR=str(folder),
        DEMO_PACE="0",
        DJANGO_SETTINGS_MODULE="approvals.settings",
        LANGGRAPH_JSON=str(Path(__file__).parent / "langgraph.json"),
        LOG_LEVEL="ERROR",
    )
    from approvals.conf import embedded

    embedded.use_unless_configured()
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("setup_checkpointer", verbosity=0)
    call_command("demo", threads=0, stdout=open(os.devnull, "w"))


def _show(name: str, rows: list[dict[str, object]]) -> None:
    columns = list(rows[0])
    widths = {column: max(len(column), *(len(str(row[column])) for row in rows)) for column in columns}
    print(f"\n{name}")
    for line in [dict(zip(columns, columns, strict=True)), *rows]:
        print("  " + "  ".join(str(line[column]).ljust(widths[column]) for column in columns))


if __name__ == "__main__":
    main()
