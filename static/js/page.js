// Small comforts. Every page works without them.
(() => {
  const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const announce = (text) => {
    const region = document.getElementById("announce");
    if (region && text) region.textContent = text;
  };

  // Times: the reader's zone, UTC on hover.
  function ageOf(at) {
    const seconds = (Date.now() - at) / 1000;
    if (seconds < 60) return "<1 min";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  }
  // A moment ahead, as if it lay as far behind.
  const mirrored = (time) => new Date(2 * Date.now() - new Date(time.dateTime));
  function tellDue(time) {
    const left = (new Date(time.dateTime) - Date.now()) / 1000;
    const isShort = time.dataset.due === "short"; // in a column that says what it is
    time.textContent = left > 0 ? `${isShort ? "in" : "due in"} ${ageOf(mirrored(time))}` : `${ageOf(new Date(time.dateTime))} ${isShort ? "over" : "overdue"}`;
    time.className = `due due-${left <= 0 ? "over" : left < 3600 ? "soon" : "later"}`;
  }
  function tellTimes() {
    for (const time of document.querySelectorAll("time[data-moment]")) time.textContent = moment.format(new Date(time.dateTime));
    for (const time of document.querySelectorAll("time[data-age]")) time.textContent = ageOf(new Date(time.dateTime));
    for (const time of document.querySelectorAll("time[data-left]")) time.textContent = `${Math.max(1, Math.round((new Date(time.dateTime) - Date.now()) / 60000))} min left`;
    for (const time of document.querySelectorAll("time[data-due]")) tellDue(time);
  }

  // Toasts are read out, then go.
  function toasts() {
    for (const toast of document.querySelectorAll(".toast:not([data-seen])")) {
      toast.dataset.seen = "";
      announce(toast.textContent);
      if (toast.matches(".toast-quiet")) {
        toast.remove();  // the tray shows it
        continue;
      }
      setTimeout(() => toast.remove(), 8000);
    }
  }

  // What was chosen in the list, to be decided together: how many, and the sum of each currency and kind.
  const MOST_PICKED = 50;
  const allPicks = () => [...document.querySelectorAll("[data-pick]")];
  const picks = () => allPicks().filter((box) => box.checked);
  const sums = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
  function sumsOf(boxes) {
    const amounts = new Map();
    const kinds = new Map();
    for (const { dataset } of boxes) {
      kinds.set(dataset.action, (kinds.get(dataset.action) || 0) + 1);
      if (dataset.amount) amounts.set(dataset.currency, (amounts.get(dataset.currency) || 0) + Number(dataset.amount));
    }
    const money = [...amounts].map(([currency, sum]) => `${sums.format(sum)} ${currency}`.trim());
    return [...money, ...[...kinds].map(([kind, many]) => `${many} × ${kind}`)].join(" · ");
  }
  function tellPicks() {
    const bar = document.getElementById("bulk-form");
    if (!bar) return;
    const boxes = allPicks();
    const chosen = boxes.filter((box) => box.checked);
    bar.hidden = chosen.length === 0;
    document.getElementById("chosen").textContent = chosen.length ? `${chosen.length} chosen` : "";
    document.getElementById("chosen-sums").textContent = sumsOf(chosen);
    document.getElementById("look-together").disabled = chosen.length > MOST_PICKED;
    const all = document.querySelector("[data-pick-all]");
    if (!all) return;
    all.checked = chosen.length > 0 && chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
  }
  let lastPick = null; // with Shift, all from here on
  function pickTo(box) {
    const boxes = allPicks();
    const [from, to] = [boxes.indexOf(lastPick), boxes.indexOf(box)].sort((one, other) => one - other);
    if (from >= 0) for (const each of boxes.slice(from, to + 1)) each.checked = box.checked;
  }
  document.addEventListener("click", (event) => {
    if (event.target.matches?.("[data-pick]")) {
      if (event.shiftKey) pickTo(event.target);
      lastPick = event.target;
      tellPicks();
    } else if (event.target.id === "choose-none") {
      for (const box of picks()) box.checked = false;
      tellPicks();
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const box of allPicks()) box.checked = event.target.checked;
    if (event.target.matches("[data-pick], [data-pick-all]")) tellPicks();
  });

  // Rows do not move under a pointer: what is new, and what is gone, waits behind a line until the pointer has left.
  let isAsked = false;
  const namesOf = (list) => [...list.querySelectorAll("[data-row][id]")].map((row) => row.id);
  function waits(list, html) {
    const wasAsked = isAsked;
    isAsked = false;
    if (wasAsked || !list.matches(":hover") || !list.querySelector(".waiting-place")) return false;
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(list.id);
    const [old, now] = [namesOf(list), fresh ? namesOf(fresh) : []];
    if (!fresh || !old.length || old.join() === now.join()) return false;
    const gone = old.filter((id) => !now.includes(id));
    const added = now.filter((id) => !old.includes(id)).length;
    for (const id of old) document.getElementById(id).classList.toggle("gone", gone.includes(id));
    const told = [added && `${added} new`, gone.length && `${gone.length} gone`].filter(Boolean).join(", ") || "Another order";
    tellWaiting(list, `${told}. Show it`);
    return true;
  }
  function tellWaiting(list, text) {
    const place = list.querySelector(".waiting-place");
    let button = place.querySelector("button");
    if (!button) {
      button = Object.assign(document.createElement("button"), { type: "button", className: "waiting" });
      button.addEventListener("click", () => askAgain());
      place.append(button);
    }
    if (button.textContent === text) return;
    button.textContent = text;
    announce(text);
  }
  function askAgain() {
    isAsked = true;
    document.body.dispatchEvent(new CustomEvent("changed-queue"));
  }
  document.addEventListener("mouseout", (event) => {
    const list = event.target.closest?.("[data-live-list]");
    if (list?.querySelector(".waiting") && !list.contains(event.relatedTarget)) askAgain();
  });

  // A list that was asked for again: keep the place of the focus and what was chosen, say what is new.
  let before = null;
  const keysOf = (list) => [...list.querySelectorAll("[data-row]")].map((row) => row.dataset.key || row.id);
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, requestConfig } = event.detail;
    if (xhr.status === 304) {
      event.detail.shouldSwap = false;  // it shows that already
      return;
    }
    // Keep what is there, the next poll tries again; an answer that swaps nothing but a notice says so itself.
    if (xhr.status >= 500 && requestConfig?.verb === "get" && !xhr.getResponseHeader("HX-Reswap")) event.detail.shouldSwap = false;
    if (!target.matches("[data-live-list]")) return;
    if (waits(target, xhr.responseText)) {
      event.detail.shouldSwap = false;
      return;
    }
    const links = [...target.querySelectorAll(".row-link")];
    before = { focused: target.contains(document.activeElement) ? document.activeElement.id : "", picked: picks().map((box) => box.value), id: target.id, keys: new Set(keysOf(target)), place: links.indexOf(document.activeElement), scroll: target.scrollTop };
  });
  document.addEventListener("htmx:afterSettle", () => {
    tellTimes();
    toasts();
    if (!before) return;
    const { focused, picked, id, keys, place, scroll } = before;
    before = null;
    const list = document.getElementById(id);
    if (!list) return;
    list.scrollTop = scroll;
    for (const box of list.querySelectorAll("[data-pick]")) box.checked = picked.includes(box.value);
    tellPicks();
    const links = list.querySelectorAll(".row-link");
    const same = focused && document.getElementById(focused);
    if (same) same.focus({ preventScroll: true });
    else if (place >= 0 && !list.contains(document.activeElement) && links.length) links[Math.min(place, links.length - 1)].focus({ preventScroll: true });
    const fresh = keysOf(list).filter((key) => !keys.has(key)).length;
    if (fresh && keys.size) announce(`${fresh} new in the list.`);
  });

  // Back in a list, the place is that of the approval that was open last in this tab.
  const LAST = "countersign-last";
  const idOf = (path) => path.match(/^\/approvals\/([0-9a-f-]{36})\/$/)?.[1];
  function keepPlace() {
    const here = idOf(location.pathname);
    if (here) sessionStorage.setItem(LAST, here);
    const row = here ? null : document.getElementById(`open-${sessionStorage.getItem(LAST)}`);
    if (!row || document.activeElement !== document.body || !document.getElementById("rows")) return;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("htmx:afterSettle", ({ detail }) => { if (detail.target?.id === "page") keepPlace(); });

  // What became of a vote is told in the tray.
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    if (detail.requestConfig?.verb === "post" && detail.target?.id === "page") document.body.dispatchEvent(new CustomEvent("voted"));
  });
  let wasInTray = false;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => { wasInTray = detail.target.id === "tray" && detail.target.contains(document.activeElement); });
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    if (wasInTray && !document.getElementById("tray")?.contains(document.activeElement)) document.querySelector("#page h1[tabindex]")?.focus({ preventScroll: true });
    wasInTray = false;
  });
  function tellLeft() {
    for (const left of document.querySelectorAll("[data-until]")) {
      const text = `${Math.max(0, Math.ceil((new Date(left.dataset.until) - Date.now()) / 1000))} s`;
      if (left.textContent !== text) left.textContent = text;
    }
  }
  setInterval(tellLeft, 250);

  // Snooze until a time of the reader's clock.
  document.addEventListener("input", (event) => {
    if (event.target.id !== "snooze-until") return;
    const minutes = Math.ceil((new Date(event.target.value) - Date.now()) / 60000);
    const button = document.getElementById("snooze-then");
    button.value = minutes > 0 ? minutes : "";
    button.disabled = !(minutes > 0);
  });
  const showScripted = () => { for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false; };
  document.addEventListener("DOMContentLoaded", showScripted);
  document.addEventListener("htmx:afterSettle", showScripted);

  // Votes and buttons that came anew: what is open stays open, and what is being typed stays.
  let stillOpen = [];
  const keepOpen = (part) => { stillOpen = [...stillOpen, ...[...part.querySelectorAll("details[id][open]")].map((old) => old.id)]; };
  function openAgain() {
    // Not before: of details with one name, the second that is in the page closes.
    for (const id of stillOpen) if (document.getElementById(id)) document.getElementById(id).open = true;
  }
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id !== "tally" && target.id !== "decide") return;
    for (const old of target.querySelectorAll("textarea[id]")) {
      const fresh = fragment.querySelector(`#${old.id}`);
      if (fresh && old.value) fresh.value = old.value;
    }
    keepOpen(target);
  });
  document.addEventListener("htmx:oobAfterSwap", openAgain);

  // A part that asked again: somebody may be about to confirm something in it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.requestConfig?.verb === "get" && event.detail.shouldSwap) keepOpen(event.detail.target);
  });
  document.addEventListener("htmx:afterSwap", openAgain);  // after those that came along with the part
  document.addEventListener("htmx:afterSettle", () => { stillOpen = []; });

  // A notice that is already there is not read out again.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id === "banner" && target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
  });

  // A form that came back with faults: go to the first.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.requestConfig?.verb !== "post") return;
    const edit = event.detail.elt.closest("#edit, #answer");
    if (!edit || edit.querySelector(".preview")) return;
    const fault = edit.querySelector("[aria-invalid=true]");
    const problem = edit.querySelector(".alert");
    if (fault) fault.focus();
    else if (problem) problem.scrollIntoView({ block: "center" });
  });

  // A page that came through a boosted form: begin at its heading.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.requestConfig?.verb !== "post") return;
    if (document.activeElement !== document.body && document.activeElement) return;
    const heading = document.querySelector("#page h1[tabindex]");
    if (heading) heading.focus({ preventScroll: true });
  });

  // Nothing is sent twice by a double click.
  const buttonsOf = (sender) => [...((sender.matches("form") ? sender : sender.form)?.elements || [])].filter((item) => item.type === "submit" && !item.disabled);
  const held = new WeakMap();
  document.addEventListener("htmx:beforeSend", (event) => {
    if (event.detail.requestConfig?.verb !== "post") return;
    const buttons = buttonsOf(event.detail.elt);
    held.set(event.detail.elt, buttons);
    for (const button of buttons) button.disabled = true;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    for (const button of held.get(event.detail.elt) || []) button.disabled = false;
    if (event.detail.requestConfig?.verb === "post" && event.detail.xhr.status === 0) announce("The server did not answer. Nothing you typed is lost; send it again.");
  });
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    setTimeout(() => buttonsOf(event.target).forEach((button) => { button.disabled = true; }), 0);
  });

  function open(selector) {
    const details = document.querySelector(selector);
    if (!details) return;
    details.open = true;
    details.scrollIntoView({ block: "start" });
    const first = details.querySelector("input:not([type=hidden]), select, textarea");
    if (first) first.focus({ preventScroll: true });
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener && document.querySelector(opener.dataset.opens)) {
      event.preventDefault();
      open(opener.dataset.opens);
    }
    const copier = event.target.closest("[data-copy]");
    if (copier) {
      navigator.clipboard.writeText(document.querySelector(copier.dataset.copy).textContent).then(
        () => { copier.textContent = "Copied"; announce("Copied."); setTimeout(() => { copier.textContent = "Copy"; }, 2000); },
        () => announce("The browser did not allow copying."),
      );
    }
    if (event.target.closest("#help-open")) document.getElementById("help").showModal();
    for (const panel of document.querySelectorAll("details.panel[open]")) if (!panel.contains(event.target)) panel.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const panel = document.querySelector("details.panel[open]");
    if (panel) { panel.open = false; panel.querySelector("summary").focus(); }
  });
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches || !event.target.matches("details.panel[open]")) return;
    const first = event.target.querySelector("textarea, .sheet .button");
    if (first && !event.target.matches(".drop")) first.focus();
  }, true);

  document.addEventListener("DOMContentLoaded", () => {
    tellTimes();
    tellPicks();
    keepPlace();
    // From one approval to the next: keys go on where the eye is.
    if (document.activeElement === document.body && !location.hash) document.getElementById("item-title")?.focus({ preventScroll: true });
    toasts();
    const side = document.getElementById("side");
    const current = side && side.querySelector("[aria-current]");
    if (current) side.scrollTop = current.closest("li").offsetTop - side.clientHeight / 2;
  });
  setInterval(tellTimes, 30000);
})();
