"""What a web process loads before it answers, and what only once it is needed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADED = """
import gc, sys
gc.disable()
import django
django.setup()
import approvals.asgi
from approvals.management import serving
serving._load_pages()
"""
LATER = "redis jsonschema referencing confusable_homoglyphs psutil"
AT_ONCE = """
import threading
from approvals.api import api
from pydantic import ValidationError

sys.setswitchinterval(1e-6)
views = [view for _, router in api._routers for view in router.path_operations.values()]
operations = [each for view in views for each in view.operations]
made = [each for operation in operations for each in (*operation.models, *(operation.response_models or {}).values())]
models = [each for each in made if isinstance(each, type)]
assert len(models) > 80 and not any(each.__pydantic_complete__ for each in models), "they are built when first used"
begin, failed = threading.Barrier(16), []

def use() -> None:
    begin.wait()
    for model in models:
        try:
            model.model_validate({})
        except ValidationError:
            pass
        except Exception as error:
            failed.append((model, error))

threads = [threading.Thread(target=use) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed, sum(each.__pydantic_complete__ for each in models) == len(models))
"""


def told_by(code: str) -> str:
    """Return what a process prints that loads all of a web process first."""
    env = {**os.environ, "REDIS_URL": "", "DJANGO_SETTINGS_MODULE": "approvals.settings"}
    command = [sys.executable, "-c", LOADED + code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_few_consoles_need_is_loaded_when_it_is_needed(database: str) -> None:
    assert told_by(f"print(*sorted(set('{LATER}'.split()) & sys.modules.keys()))") == ""


def test_what_is_loaded_is_not_looked_through_for_garbage_and_what_comes_after_is(database: str) -> None:
    assert told_by("print(gc.isenabled(), gc.get_freeze_count() > 100_000)") == "True True"


def test_what_checks_the_api_is_built_by_whoever_comes_first(database: str) -> None:
    assert told_by(AT_ONCE) == "[] True"
