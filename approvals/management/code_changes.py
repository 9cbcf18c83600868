"""What changes in the code of graphs, for `manage.py dev`."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from watchfiles import Change, DefaultFilter, watch

from agentcore.plain.errors import RegistryError
from agentcore.plain.langgraph_json import read_content, read_dependencies

_NOT_CODE = (*DefaultFilter.ignore_dirs, "site-packages", "venv", "env")
_DEBOUNCE_MS = 600
"""Files that are saved together are one change."""
_STEP_MS = 150


class _OfProject(DefaultFilter):
    """Python files, and those that langgraph.json itself is made of."""

    def __init__(self, named: Sequence[Path], without: Path) -> None:
        super().__init__(ignore_dirs=_NOT_CODE, ignore_paths=[without])
        self._named = {str(path) for path in named}

    def __call__(self, change: Change, path: str) -> bool:
        return path in self._named or path.endswith(".py") and super().__call__(change, path)


class CodeChanges:
    """The files that changed since somebody asked last. Watched are langgraph.json, its `env` and its folders."""

    def __init__(self, langgraph_json: Path, *, without: Path) -> None:
        self._file, self._without = langgraph_json.resolve(), without
        self._changed: set[str] = set()
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.problem = ""
        """Why nothing is watched."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, name="code", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def take(self) -> list[str]:
        """Return the paths, relative to the folder of langgraph.json where they are in it."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return sorted(map(self._shown, changed))

    def folders(self) -> list[Path]:
        root = self._file.parent
        try:
            named = [(root / name).resolve() for name in read_dependencies(self._file)]
        except RegistryError:  # being written
            named = []
        return list(dict.fromkeys([root, *filter(Path.is_dir, named)]))

    def _watch(self) -> None:
        try:
            while not self._stopped.is_set():
                self._watch_as_named()
        except Exception as error:  # noqa: BLE001 - the machine may have no more watches; the console goes on
            self.problem = f"{type(error).__name__}: {error}"

    def _watch_as_named(self) -> None:
        """Watch until langgraph.json changes: it may name other folders then."""
        wanted = _OfProject([self._file, *self._env_file()], self._without)
        for changes in watch(
            *self.folders(),
            watch_filter=wanted,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._stopped,
            raise_interrupt=False,
        ):
            with self._lock:
                self._changed |= {path for _, path in changes}
            if any(path == str(self._file) for _, path in changes):
                return

    def _env_file(self) -> list[Path]:
        try:
            env = read_content(self._file).get("env")
        except RegistryError:
            return []
        return [(self._file.parent / env).resolve()] if isinstance(env, str) else []

    def _shown(self, path: str) -> str:
        root = self._file.parent
        return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
