"""What the code of a run prints, logs and warns of, kept for people: the newest lines, without secrets.

Several runs go on side by side in a worker, in tasks and threads of one process. So what is printed is told apart by a
context variable, which LangGraph's tasks and threads inherit. A thread that an author starts does not.
"""

import logging
import re
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from agentcore.plain.masks import Mask

MOST_LINES = 500
MOST_CHARACTERS = 60_000
"""Of all lines together."""
LONGEST_LINE = 2_000
"""Characters; the rest of a longer line is counted, not kept."""
_CUT = re.compile(r"… \([\d,]+ more\)$")
_OF_THE_CONSOLE = ("approvals", "agentcore", "procrastinate", "psycopg", "django")
"""Loggers whose records are not the graph's, though they come while it runs."""
_keeping: ContextVar["KeptLines | None"] = ContextVar("kept_lines", default=None)


@dataclass(frozen=True)
class KeptLine:
    """`source` is `stdout`, `stderr`, `warning`, or the name of a logger; `level` that of its record, or empty."""

    at: str
    source: str
    level: str
    text: str


def _nobody() -> None:
    return None


class KeptLines:
    """The lines of one run. Any thread may add to them."""

    def __init__(self, on_line: Callable[[], object] = _nobody) -> None:
        self.mask = Mask(())
        self.dropped = 0
        self._on_line = on_line
        self._lines: deque[KeptLine] = deque()
        self._characters = 0
        self._begun: dict[str, str] = {}
        """What was printed of a line that has not ended, by its stream."""
        self._lock = threading.Lock()

    def put_before(self, lines: Sequence[Mapping[str, Any]], dropped: int) -> None:
        """Go on from what was kept of an earlier attempt of the run."""
        with self._lock:
            self._lines.extendleft(KeptLine(**line) for line in reversed(lines))
            self._characters += sum(len(line["text"]) for line in lines)
            self.dropped += dropped

    def add(self, source: str, text: str, level: str = "") -> None:
        with self._lock:
            self._add(source, self.mask.anywhere(text), level)
        self._on_line()

    def write(self, source: str, text: str) -> str:
        """Add what a stream is given. Return the lines that are whole now, without secrets, for the stream itself."""
        with self._lock:
            # Whole, as it is cut into lines afterwards: a part of a secret is not recognised.
            *whole, begun = self.mask.anywhere(f"{self._begun.get(source, '')}{text}").split("\n")
            if len(begun) > LONGEST_LINE:
                at = self.mask.beginning_in(begun) or len(begun)  # the rest of a secret may come next
                whole, begun = [*whole, begun[:at]], begun[at:]
            self._begun[source] = begun
            for line in whole:
                self._add(source, line)
        if whole:
            self._on_line()
        return "".join(f"{line}\n" for line in whole)

    def end(self) -> None:
        """End the lines that nobody ended."""
        for source, begun in list(self._begun.items()):
            if begun:
                getattr(sys, source).write("\n")

    def plain(self) -> list[dict[str, Any]]:
        """Return the lines as plain data, without the secrets that are known by now."""
        with self._lock:
            lines = list(self._lines)
        return [asdict(line) | {"text": _masked(self.mask, line.text)} for line in lines]

    def __bool__(self) -> bool:
        return bool(self._lines)

    def _add(self, source: str, text: str, level: str = "") -> None:
        shown = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}… ({len(text) - LONGEST_LINE:,} more)"
        self._lines.append(KeptLine(datetime.now(UTC).isoformat(), source, level, shown))
        self._characters += len(shown)
        while len(self._lines) > MOST_LINES or self._characters > MOST_CHARACTERS:
            self._characters -= len(self._lines.popleft().text)
            self.dropped += 1


def _masked(mask: Mask, text: str) -> str:
    """Mask a kept line: one that was cut may end with the beginning of a secret."""
    cut = _CUT.search(text)
    return mask.in_cut(text[: cut.start()]) + cut[0] if cut else str(mask.anywhere(text))


@contextmanager
def kept_by(lines: KeptLines | None) -> Iterator[None]:
    """Have what the block prints, logs and warns of kept; with None, not even by a block around it."""
    token = _keeping.set(lines)
    if lines is not None:
        warnings.simplefilter("default", append=True)  # Python forgets what it warned of: each run is warned anew
    try:
        yield
    finally:
        if lines is not None:
            lines.end()
        _keeping.reset(token)


@contextmanager
def caught() -> Iterator[None]:
    """Catch what runs print and warn of, in this process, until the block ends. `KeptRecords` keeps what they log."""
    streams = {name: _CaughtStream(name, getattr(sys, name)) for name in ("stdout", "stderr")}
    show = warnings.showwarning
    for name, stream in streams.items():
        setattr(sys, name, stream)
    warnings.showwarning = _shown_by(show)
    try:
        yield
    finally:
        warnings.showwarning = show
        for name, stream in streams.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.stream)


class _CaughtStream:
    """Standard output or error. What a run writes goes to its lines and, line by line, to the stream itself."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name, self.stream = name, stream

    def write(self, text: str) -> int:
        lines = _keeping.get()
        if lines is None:
            return self.stream.write(text)
        if whole := lines.write(self.name, text):
            self.stream.write(whole)
            self.stream.flush()
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class KeptRecords(logging.Handler):
    """Keeps the records that a run logs. The configuration of logging names it, which may be applied again."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = _keeping.get()
        if lines is None or record.name.partition(".")[0] in _OF_THE_CONSOLE:
            return
        try:
            text = logging.Formatter().format(record)
        except Exception:  # noqa: BLE001 - the author's arguments may not fit, and `str` of one may raise anything
            text = str(record.msg)
        for line in lines.mask.anywhere(text).split("\n"):
            lines.add(record.name, line, record.levelname)


class ShownRecords(logging.StreamHandler[TextIO]):
    """Writes records to standard error, without the secrets of the run that logs them."""

    def format(self, record: logging.LogRecord) -> str:
        lines, text = _keeping.get(), super().format(record)
        return str(lines.mask.anywhere(text)) if lines is not None else text

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        with kept_by(None):  # it is kept already, as a record
            self.stream.write(f"{text}{self.terminator}")
            self.flush()


def _shown_by(show: Callable[..., None]) -> Callable[..., None]:
    def keep(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any, **also: Any
    ) -> None:
        if (lines := _keeping.get()) is not None:
            lines.add("warning", f"{category.__name__}: {message} ({filename}:{lineno})", "WARNING")
        with kept_by(None):
            show(message, category, filename, lineno, *more, **also)

    return keep
