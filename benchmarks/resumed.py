"""From the click on Approve until the browser shows that the run went on, and that it ended, beside a plain request.

The node takes no time. A script in the page notes both moments, so that nothing but the console and the browser is in
them. The plain request counts what waits for the person: the least that a page asks for. `ratio` is the median over its
median.
"""

import asyncio
import json
import os
import statistics
from pathlib import Path

from playwright.async_api import Page, async_playwright

from benchmarks.running import ROOT, manage, pause, signed_in, started, up
from tests import programs
from tests.console import free_port

ROUNDS = max(3, int(os.environ.get("BENCH_ROUNDS", "200")) // 4)
GRAPH = f"{ROOT / 'benchmarks' / 'peers' / 'graph.py'}:graph"
WATCH = """
() => {
  window.seen = {};
  const look = () => {
    const status = document.getElementById("run")?.dataset.status;
    if (status && status !== "queued") seen.resumed ??= performance.now();
    if (status === "finished") seen.finished ??= performance.now();
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  document.addEventListener("click", () => { seen.clicked ??= performance.now(); }, true);
}
"""
REQUEST = """
async () => {
  const began = performance.now();
  await (await fetch("/open-count/", { headers: { "HX-Request": "true" } })).text();
  return performance.now() - began;
}
"""


def table() -> list[dict[str, object]]:
    return asyncio.run(_table())


async def _table() -> list[dict[str, object]]:
    graphs = Path(os.environ["DATA_DIR"]) / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"gated": GRAPH}}))
    port = free_port()
    env = {"PORT": str(port), "LANGGRAPH_JSON": str(graphs), "UNDO_SECONDS": "0"}  # which the run would wait for
    with started(manage("serve", "--port", str(port)), env):
        url = await up(port, "/readyz")
        cookie = {"name": "sessionid", "value": await signed_in("alice"), "url": url}
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=programs.chromium(), args=programs.CHROMIUM_FLAGS
            )
            context = await browser.new_context()
            await context.add_cookies([cookie])  # type: ignore[list-item]
            page = await context.new_page()
            plain, resumed, finished = [], [], []
            for _ in range(ROUNDS):
                seen = await _approved(page, url)
                resumed.append(seen["resumed"] - seen["clicked"])
                finished.append(seen["finished"] - seen["clicked"])
                plain.append(await page.evaluate(REQUEST))
            await browser.close()
    return [
        _row("a plain request", plain, plain),
        _row("vote to resumed", resumed, plain),
        _row("vote to finished", finished, plain),
    ]


async def _approved(page: Page, url: str) -> dict[str, float]:
    approval = await pause("gated", {"text": "as asked"})
    await page.goto(f"{url}/approvals/{approval.pk}/")
    await page.wait_for_selector("html[data-live=on]", state="attached")
    await page.evaluate(WATCH)
    await page.click("#approve")
    await page.wait_for_selector("#run[data-status=finished]")
    return dict(await page.evaluate("seen"))


def _row(what: str, taken: list[float], plain: list[float]) -> dict[str, object]:
    return {
        "what": what,
        "n": len(taken),
        "p50 ms": round(statistics.median(taken), 1),
        "p95 ms": round(statistics.quantiles(taken, n=20)[-1], 1),
        "ratio": round(statistics.median(taken) / statistics.median(plain), 1),
    }
