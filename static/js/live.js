// One socket for an open page. It says what changed, and the parts that show it then ask again (hx-trigger). While there is
// no socket, or its server is not told of changes, they ask every 15 s, and those that show a run every 2 s.
// A part sends the ETag of the answer that it shows, and is answered 304 while nothing is different.
(() => {
  const SHORTEST = { thread: 50, log: 250 }; // milliseconds between two questions about the same
  const SHORTEST_OF_LISTS = 300;
  const EVERY = 15000;
  const EVERY_OF_RUNS = 2000;
  const LONGEST_SILENCE = 55000; // the server says something every 20 s
  const LONGEST_WAIT = 30000;
  const THREAD_FIRST = 400; // on the page of a thread, its lists wait for so long: what happens to the thread is shown first
  let socket = null;
  let isLive = false;
  let tries = 0;
  let retry = 0;
  let followed = "";
  let post = null; // the last one, which may be on its way
  let heardAt = 0;
  let isTrueAt = Date.now() - performance.now(); // what the page shows was true then
  const last = {};
  const pending = {};

  // Have the parts ask, at a random moment within this time: many pages are told of the same.
  function tell(name, within = 0) {
    const now = performance.now();
    const soonest = (last[name] ?? -Infinity) + (SHORTEST[name] ?? SHORTEST_OF_LISTS);
    const rest = name !== "thread" && name !== "log" && threadOfPage() ? THREAD_FIRST : 0;
    const at = Math.max(now + rest + Math.random() * within, soonest);
    if (pending[name]?.at <= at) return;
    clearTimeout(pending[name]?.timer);
    pending[name] = null;
    if (at > now) pending[name] = { at, timer: setTimeout(() => { pending[name] = null; ask(name); }, at - now) };
    else ask(name);
  }

  function ask(name) {
    last[name] = performance.now();
    if (post?.readyState > 0 && post.readyState < 4) return; // its answer shows the page anew, or asks again
    document.body.dispatchEvent(new CustomEvent("changed-" + name));
  }

  function tellSince(asked, names) {
    for (const name in last) if (last[name] > asked && (!names || names.includes(name))) tell(name);
  }

  const askForAll = () => { for (const name of ["queue", "threads", "thread"]) tell(name); };

  const triggerOf = (part) => part?.getAttribute("hx-trigger") || "";
  const namesIn = (trigger) => [...trigger.matchAll(/changed-(\w+)/g)].map((found) => found[1]);

  const threadOfPage = () => document.getElementById("page")?.dataset.thread || "";

  function follows() {
    const thread = threadOfPage();
    const list = document.querySelector("[hx-trigger*=changed-threads]") ? "threads" : "";
    return new URLSearchParams({ thread, list }).toString();
  }

  function beLive(isNow) {
    isLive = isNow;
    const note = document.getElementById("connection");
    if (note) note.hidden = Boolean(socket?.isTold) || tries < 2;
    document.documentElement.dataset.live = isLive ? "on" : "off";
  }

  function connect() {
    clearTimeout(retry);
    followed = follows();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const age = Math.max(0, Math.round(Date.now() - isTrueAt));
    const opened = new WebSocket(`${scheme}//${location.host}/ws/live/?${followed}&age=${age}`);
    socket = opened;
    heardAt = Date.now();
    opened.addEventListener("message", (event) => {
      if (socket !== opened) return;
      const { live, changed } = JSON.parse(event.data);
      tries = 0;
      opened.isTold = true;
      isTrueAt = heardAt = Date.now();
      beLive(live);
      for (const [name, seconds] of Object.entries(changed)) tell(name, seconds * 1000);
    });
    opened.addEventListener("close", () => { if (socket === opened) lose(); });
  }

  function lose() {
    socket = null;
    tries += 1;
    beLive(false);
    retry = setTimeout(connect, Math.min(LONGEST_WAIT, 500 * 2 ** tries) * (0.75 + Math.random() / 2));
  }

  // The page may be another one now.
  function follow({ detail }) {
    if (!document.querySelector(".menu") || follows() === followed) return;
    const old = socket;
    socket = null;
    if (old) old.close();
    isTrueAt = Date.now() - (performance.now() - (detail.xhr?.asked ?? 0));
    connect();
  }

  // After sleep, or where the network went away in silence, a socket looks open and brings nothing.
  setInterval(() => {
    if (!socket || Date.now() - heardAt < LONGEST_SILENCE) return;
    const dead = socket;
    lose();
    dead.close();
  }, 5000);
  setInterval(() => {
    if (!isLive) askForAll();
    else if (document.querySelector("[data-tells-time]")) tell("thread");
  }, EVERY);
  setInterval(() => { if (!isLive && document.querySelector("[data-busy]")) tell("thread"); }, EVERY_OF_RUNS);

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt.dataset.etag) detail.headers["If-None-Match"] = detail.elt.dataset.etag;
  });
  const isPost = (detail) => detail.requestConfig?.verb === "post";
  document.addEventListener("htmx:beforeSend", ({ detail }) => {
    detail.xhr.asked = performance.now();
    if (isPost(detail)) post = detail.xhr;
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.successful && detail.xhr.status !== 204) return;
    if (isPost(detail)) tellSince(detail.xhr.asked);
    if (detail.successful) return;
    // An error may have put a notice on the page, which only a whole answer takes away.
    for (const part of document.querySelectorAll("[data-etag]")) delete part.dataset.etag;
    if (detail.xhr.status >= 500 || !detail.xhr.status) setTimeout(() => namesIn(triggerOf(detail.elt)).forEach((name) => tell(name)), EVERY);
  });
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    const trigger = triggerOf(detail.requestConfig?.elt);
    const isPart = namesIn(trigger).length > 0;
    // An answer may be older than what was told while it was on its way, and htmx drops what waits for a replaced element.
    if (detail.xhr) tellSince(detail.xhr.asked, isPart ? namesIn(trigger) : null);
    // Whatever else replaces the part takes its ETag away with it.
    const etag = detail.xhr?.getResponseHeader("ETag");
    const part = document.getElementById(detail.requestConfig?.elt.id);
    if (etag && isPart && triggerOf(part).includes("changed-")) part.dataset.etag = etag;
  });

  document.addEventListener("DOMContentLoaded", () => { if (document.querySelector(".menu")) connect(); });
  document.addEventListener("htmx:afterSettle", follow);
})();
