"""`make check`: everything that can be said of the code without running its tests. Changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PRODUCTION = {
    "DATABASE_URL": "postgresql://countersign@db.example.org/countersign",
    "REDIS_URL": "redis://redis.example.org:6379/0",
    "SECRET_KEY": "only-for-this-check-" + "0123456789abcdef" * 4,
    "PUBLIC_URL": "https://approvals.example.org",
}
CHECKS = {
    "ruff": ["ruff", "check", "-q", "."],
    "format": ["ruff", "format", "-q", "--check", "."],
    "templates": ["djade", "--check", "--target-version", "5.2"],
    "types": ["mypy", "--no-error-summary"],
    "arrows": ["lint-imports", "--no-cache"],
    "django": ["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
    "migrations": ["python", "manage.py", "makemigrations", "--check", "--dry-run"],
    "docs": ["python", "manage.py", "export_docs", "--check"],
    "words": [
        "python",
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/docs/test_contracts.py",
        "tests/docs/test_glossary.py",
        "tests/docs/test_presenters.py",
    ],
}


def main() -> int:
    """Run each check, print what failed, return how many did."""
    failed = [name for name, command in CHECKS.items() if not _passes(name, command)]
    print(f"{len(failed)} of {len(CHECKS)} checks failed" + (f": {', '.join(failed)}" if failed else ""))
    return len(failed)


def _passes(name: str, command: list[str]) -> bool:
    arguments = list(command)
    if name == "templates":
        arguments += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "templates").rglob("*.html"))]
    env = {**os.environ, **(PRODUCTION if name == "django" else {})}
    done = subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    print(f"{'ok' if done.returncode == 0 else 'FAILED':7} {name}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
