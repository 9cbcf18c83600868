"""What code prints, logs and warns of: which lines are kept, of whom, how many, and without which secrets."""

import asyncio
import contextlib
import io
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from agentcore.plain import kept_lines
from agentcore.plain.kept_lines import KeptLines, KeptRecords, ShownRecords, caught, kept_by
from agentcore.plain.masks import MASK, Mask


@contextlib.contextmanager
def saying() -> Iterator[io.StringIO]:
    """Yield what reaches the streams of the process."""
    stream = io.StringIO()
    root, keeping = logging.getLogger(), KeptRecords()
    if not any(isinstance(handler, KeptRecords) for handler in root.handlers):  # as where Django is set up
        root.addHandler(keeping)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            with caught():
                yield stream
            assert sys.stdout is stream
    finally:
        root.removeHandler(keeping)


def told(lines: KeptLines) -> list[tuple[str, str, str]]:
    return [(line["source"], line["level"], line["text"]) for line in lines.plain()]


def test_each_way_to_say_something_is_kept() -> None:
    lines = KeptLines()
    logger = logging.getLogger("shop")
    with saying() as out:
        with kept_by(lines), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = kept_lines._shown_by(lambda *_: None)  # pytest has put its own in its place
            print("one\ntwo")
            sys.stderr.write("three\n")
            logger.warning("four %d", 4)
            warnings.warn("five", stacklevel=1)
            print("six", end="")
        print("of nobody")
    *first, [source, level, text], last = told(lines)
    assert first == [
        ("stdout", "", "one"), ("stdout", "", "two"), ("stderr", "", "three"), ("shop", "WARNING", "four 4")
    ]  # fmt: skip
    assert (source, level) == ("warning", "WARNING")
    assert text.startswith("UserWarning: five (") and "test_kept_lines.py" in text
    assert last == ("stdout", "", "six")
    assert out.getvalue() == "one\ntwo\nthree\nsix\nof nobody\n"


def test_tasks_and_threads_of_several_runs_are_told_apart() -> None:
    kept = {name: KeptLines() for name in "abc"}

    async def run(name: str) -> None:
        with kept_by(kept[name]):
            for number in range(20):
                print(f"{name} {number}")
                await asyncio.to_thread(print, f"{name} {number} in a thread")

    async def main() -> None:
        await asyncio.gather(*map(run, kept))

    with saying():
        asyncio.run(main())
    for name, lines in kept.items():
        assert [text.partition(" ")[0] for _, _, text in told(lines)] == [name] * 40


def test_what_the_console_itself_logs_is_not_the_graphs() -> None:
    lines = KeptLines()
    with saying(), kept_by(lines):
        logging.getLogger("approvals.jobs").warning("ours")
        logging.getLogger("procrastinate.worker").warning("ours")
    assert not lines


def test_the_newest_lines_are_kept_and_the_others_counted() -> None:
    lines = KeptLines()
    for number in range(kept_lines.MOST_LINES + 7):
        lines.add("stdout", str(number))
    assert (len(lines.plain()), lines.dropped, lines.plain()[0]["text"]) == (kept_lines.MOST_LINES, 7, "7")
    lines.add("stdout", "x" * 10_000)
    assert lines.plain()[-1]["text"].endswith("x… (8,000 more)")
    for _ in range(50):
        lines.add("stdout", "y" * 2_000)
    assert sum(len(line["text"]) for line in lines.plain()) <= kept_lines.MOST_CHARACTERS
    again = KeptLines()
    again.put_before(lines.plain(), lines.dropped)
    assert (again.plain(), again.dropped) == (lines.plain(), lines.dropped)


def test_a_line_that_never_ends_is_kept_in_pieces() -> None:
    lines = KeptLines()
    with saying() as out, kept_by(lines):
        for _ in range(5):
            print("." * 1_000, end="")
    assert [len(text.partition("…")[0]) for _, _, text in told(lines)] == [2_000, 2_000]
    assert out.getvalue().count(".") == 5_000


def test_a_secret_is_masked_in_what_is_kept_and_in_what_goes_on() -> None:
    lines = KeptLines()
    lines.mask = Mask(["key"], {"key": "canary-1"})
    record = logging.LogRecord("shop", logging.INFO, "", 1, "with %s", ("canary-1",), None)
    with saying() as out, kept_by(lines):
        print("with canary-1 and canary-2")
        ShownRecords(sys.stderr).emit(record)
    lines.mask.learn({"key": "canary-2"})  # which came up later
    assert told(lines) == [("stdout", "", f"with {MASK} and {MASK}")]
    assert out.getvalue() == f"with {MASK} and canary-2\nwith {MASK}\n"


KEY = "-----BEGIN KEY-----\nMIIabcdefgh\nMIIijklmnop\n-----END KEY-----\n"


def say_it_all(secret: str) -> None:
    print(f"printed {secret}")
    sys.stderr.write(f"written {secret}\n")
    try:
        raise ValueError(secret)
    except ValueError:
        traceback.print_exc()
        logging.getLogger("shop").exception("caught")
    logging.getLogger("shop").warning("logged %r", {"key": [secret]})
    for part in secret:
        print(part, end="")
    print()
    print("y" * 1_990 + secret + "z" * 5_000)
    logging.getLogger("shop").warning("y" * 1_990 + secret)


@pytest.mark.parametrize("is_late", [False, True], ids=["known before", "learned later"])
@pytest.mark.parametrize("secret", [KEY, "pa'ss\\word-42", "word-42 and more"], ids=["lines", "escaped", "spaces"])
def test_no_part_of_a_secret_is_kept_of_several_lines_or_where_a_line_is_cut(secret: str, is_late: bool) -> None:
    lines = KeptLines()
    lines.mask = Mask(["key"], {} if is_late else {"key": secret})
    with saying() as out, kept_by(lines):
        say_it_all(secret)
    lines.mask.learn({"key": secret})
    kept = "\n".join(text for _, _, text in told(lines))
    for said in ("printed", "written", "Traceback", "caught", "logged", "yyyy"):
        assert said in kept, said
    for part in ("MII", "BEGIN", "KEY", "pa'", "ss\\", "word-", "and more"):
        assert part not in kept.replace("raise ValueError(secret)", ""), (part, kept)
        assert is_late or part not in out.getvalue(), part


def test_a_secret_that_is_printed_in_pieces_at_the_end_of_a_kept_piece_is_masked() -> None:
    lines = KeptLines()
    lines.mask = Mask(["key"], {"key": KEY})
    with saying() as out, kept_by(lines):
        print("y" * 1_990, end="")
        for part in KEY * 2:
            print(part, end="")
    first, *others = [text for _, _, text in told(lines)]
    assert first == "y" * 1_990 and set("".join(others)) == {MASK[0]}
    assert "KEY" not in out.getvalue() and "MII" not in out.getvalue()


def test_what_is_left_of_a_secret_that_an_earlier_attempt_cut_is_masked_once_it_is_known() -> None:
    first, second = KeptLines(), KeptLines()
    first.add("stdout", "y" * 1_990 + "canary-1-and-more")
    assert "canary-1-a" in first.plain()[0]["text"]
    second.put_before(first.plain(), 0)
    second.mask = Mask(["key"], {"key": "canary-1-and-more"})
    assert second.plain()[0]["text"] == "y" * 1_990 + MASK + "… (7 more)"


def test_arguments_that_do_not_fit_do_no_harm() -> None:
    lines = KeptLines()
    with kept_by(lines):
        KeptRecords().emit(logging.LogRecord("shop", logging.INFO, "", 1, "%d", ("no number",), None))
    assert told(lines) == [("shop", "INFO", "%d")]


def test_whoever_is_told_of_lines_is_told_in_any_thread() -> None:
    heard: list[Any] = []
    lines = KeptLines(lambda: heard.append(threading.current_thread()))

    async def main() -> None:
        with kept_by(lines):
            await asyncio.to_thread(print, "from a thread")

    with saying():
        asyncio.run(main())
    assert len(heard) == 1 and heard[0] is not threading.main_thread()


def test_what_is_no_run_passes_as_it_is() -> None:
    with saying() as out:
        print("half", end="")
        assert out.getvalue() == "half"
        with kept_by(KeptLines()), kept_by(None):
            print(" whole", end="")
        assert out.getvalue() == "half whole"
        assert not sys.stdout.isatty()
