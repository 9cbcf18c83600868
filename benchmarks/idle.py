"""What it costs when nobody does anything: an open queue, an open approval and an idle worker, in an hour.

Each is measured for some tens of seconds (`BENCH_SECONDS`, 60) and told for an hour. A real browser shows the pages,
through a proxy that counts bytes in both directions, requests and messages alike. `polling` is the same page without
its socket: it asks every 15 s. A page's row has what its web process does beside it too, as the row of a web process
without pages shows. `ratio` is bytes over those of the same page that polls.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.running import manage, pause, signed_in, started, up
from tests import programs
from tests.console import free_port

SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
SETTLED_SECONDS = 5.0
"""After it was opened a page may ask for what it missed."""
WEB, WORKER = "bench-web", "bench-worker"
INPUT = {"order_id": "NL-48213", "customer": "Mei-Ling Chen", "reason": "Broken.", "amount": 640.0, "currency": "EUR"}


class Cost(NamedTuple):
    bytes: int
    statements: int
    cpu_seconds: float

    def row(self, what: str, polling: "Cost | None" = None) -> dict[str, object]:
        an_hour = 3600 / SECONDS
        return {
            "what": what,
            "KB an hour": round(self.bytes / 1000 * an_hour, 1),
            "statements an hour": round(self.statements * an_hour),
            "cpu s an hour": round(self.cpu_seconds * an_hour, 1),
            "ratio": round(self.bytes / polling.bytes, 3) if polling else "",
        }


class Proxy:
    """Passes on what a browser and the server send each other, and counts it."""

    def __init__(self, target: int) -> None:
        self.port, self.bytes, self._target = free_port(), 0, target

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", self.port):
            yield

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pass_on(client, to_server), self._pass_on(server, to_client))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                self.bytes += len(chunk)
                target.write(chunk)
                await target.drain()
        target.close()


class Statements:
    """Counts the statements in the log of the embedded PostgreSQL, by who sent them."""

    def __init__(self) -> None:
        self._log = Path(os.environ["DATA_DIR"]) / "postgres" / "log"
        if not self._log.exists():
            sys.exit("idle reads the log of the embedded PostgreSQL. Unset DATABASE_URL.")
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
            database.execute("ALTER SYSTEM SET log_line_prefix = '%a|'")
            database.execute("ALTER DATABASE postgres SET log_statement = 'all'")
            database.execute("SELECT pg_reload_conf()")

    def count(self, who: str) -> int:
        return len(re.findall(rf"^{who}\|LOG:  (?:statement|execute)", self._log.read_text(errors="replace"), re.M))


def table() -> list[dict[str, object]]:
    statements = Statements()
    return asyncio.run(_table(statements))


async def _table(statements: Statements) -> list[dict[str, object]]:
    port = free_port()
    proxy = Proxy(port)
    with ExitStack() as stack:
        env = {"PORT": str(proxy.port), "WEB_PROCESSES": "1"}
        worker = stack.enter_context(started(manage("procrastinate", "worker"), {**env, "PGAPPNAME": WORKER}))
        served = manage("serve", "--no-worker", "--port", str(port))
        web = stack.enter_context(started(served, {**env, "PGAPPNAME": WEB}))
        await up(port, "/readyz")
        approval = await pause("refund", INPUT)
        cookie = {"name": "sessionid", "value": await signed_in("alice"), "url": f"http://127.0.0.1:{proxy.port}"}

        async def cost(who: str, pid: int) -> Cost:
            before = Cost(proxy.bytes, statements.count(who), _cpu_seconds(pid, who))
            await asyncio.sleep(SECONDS)
            after = Cost(proxy.bytes, statements.count(who), _cpu_seconds(pid, who))
            return Cost(*(new - old for new, old in zip(after, before, strict=True)))

        await asyncio.sleep(SETTLED_SECONDS)
        rows = [
            (await cost(WORKER, worker.pid)).row("idle worker"),
            (await cost(WEB, web.pid)).row("idle web process, no page"),
        ]
        async with proxy.running(), async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=programs.chromium(), args=programs.CHROMIUM_FLAGS
            )
            for what, path in (("open queue", "/"), ("open approval", f"/approvals/{approval.pk}/")):
                measured = {}
                for is_live in (False, True):
                    page = await _opened(browser, cookie, is_live=is_live)
                    await page.goto(f"http://127.0.0.1:{proxy.port}{path}")
                    if is_live:
                        await page.wait_for_selector("html[data-live=on]", state="attached")
                    await asyncio.sleep(SETTLED_SECONDS)
                    measured[is_live] = await cost(WEB, web.pid)
                    await page.context.close()
                rows += [
                    measured[False].row(f"{what}, polling", measured[False]),
                    measured[True].row(what, measured[False]),
                ]
            await browser.close()
        return rows


async def _opened(browser: Browser, cookie: dict[str, str], *, is_live: bool) -> Page:
    context = await browser.new_context()
    await context.add_cookies([cookie])  # type: ignore[list-item]
    page = await context.new_page()
    if not is_live:
        await page.route_web_socket("**/ws/live/**", lambda socket: socket.close())
    return page


def _cpu_seconds(pid: int, who: str) -> float:
    """Return the processor time of a process, and of the sessions of PostgreSQL that serve it."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        found = database.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [who]).fetchall()
    spent = 0.0
    for each in [pid, *(number for (number,) in found)]:
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(each).cpu_times()
            spent += times.user + times.system
    return spent
