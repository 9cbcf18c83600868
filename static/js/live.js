// One socket for an open page. It only says that something changed; the page then asks again by itself (hx-trigger).
// It sends the ETag of the answer that it shows, and is answered 304 while nothing is different.
(() => {
  const THROTTLE = 300; // milliseconds
  const LONGEST_WAIT = 30000;
  let socket = null;
  let tries = 0;
  let retry = 0;
  let thread = null;
  const last = {};
  const pending = {};

  function tell(name) {
    const wait = THROTTLE - (performance.now() - (last[name] ?? -THROTTLE));
    if (pending[name]) return;
    if (wait > 0) {
      pending[name] = setTimeout(() => { pending[name] = 0; tell(name); }, wait);
      return;
    }
    last[name] = performance.now();
    document.body.dispatchEvent(new CustomEvent("changed-" + name));
  }

  function threadOfPage() {
    const page = document.getElementById("page");
    return (page && page.dataset.thread) || "";
  }

  function showConnection(isUp) {
    const note = document.getElementById("connection");
    if (note) note.hidden = isUp || tries < 2;
    document.documentElement.dataset.live = isUp ? "on" : "off";
  }

  function connect() {
    clearTimeout(retry);
    thread = threadOfPage();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const opened = new WebSocket(`${scheme}//${location.host}/ws/live/?thread=${encodeURIComponent(thread)}`);
    socket = opened;
    opened.addEventListener("open", () => {
      const missed = tries > 0;
      tries = 0;
      showConnection(true);
      if (missed) { tell("queue"); tell("thread"); }
    });
    opened.addEventListener("message", (event) => {
      const changed = JSON.parse(event.data).changed;
      if (changed === "queue" || changed === "thread") tell(changed);
    });
    opened.addEventListener("close", () => {
      if (socket !== opened) return;
      tries += 1;
      showConnection(false);
      retry = setTimeout(connect, Math.min(LONGEST_WAIT, 500 * 2 ** tries) * (0.75 + Math.random() / 2));
    });
  }

  function follow() {
    if (!document.querySelector(".menu") || threadOfPage() === thread) return;
    const old = socket;
    socket = null;
    if (old) old.close();
    connect();
    // What happened between the page and its socket would be missed.
    tell("thread");
  }

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt.dataset.etag) detail.headers["If-None-Match"] = detail.elt.dataset.etag;
  });
  document.addEventListener("htmx:beforeRequest", (event) => { event.detail.xhr.asked = performance.now(); });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    // An error may have put a notice on the page, which only a whole answer takes away.
    if (!detail.successful) for (const part of document.querySelectorAll("[data-etag]")) delete part.dataset.etag;
  });
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    // An answer may be older than what was told while it was on its way, and htmx drops what waits for a replaced element.
    for (const name in last) if (detail.xhr && last[name] > detail.xhr.asked) tell(name);
    // Only of a part that asks again and again. Whatever else replaces the part takes its ETag away with it.
    const etag = detail.xhr?.getResponseHeader("ETag");
    const part = document.getElementById(detail.requestConfig?.elt.id);
    if (etag && /every/.test(part?.getAttribute("hx-trigger"))) part.dataset.etag = etag;
  });

  document.addEventListener("DOMContentLoaded", () => { if (document.querySelector(".menu")) connect(); });
  document.addEventListener("htmx:afterSettle", follow);
})();
