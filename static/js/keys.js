// The keyboard. No single key decides anything: letters only move, open and focus.
(() => {
  const OFF = "countersign-keys-off";
  let leader = 0;
  const isOff = () => localStorage.getItem(OFF) === "1";
  const isTyping = (target) => target.closest && target.closest("input, textarea, select, [contenteditable], dialog");
  const press = (selector) => { const found = document.querySelector(selector); if (found) found.click(); };
  const go = (selector) => { const found = document.querySelector(selector); if (found) location.assign(found.href); };

  function move(step) {
    const links = [...document.querySelectorAll("[data-row] .row-link, summary[data-row]")].filter((link) => link.offsetParent !== null);
    if (!links.length) return;
    const here = links.indexOf(document.activeElement);
    const current = links.findIndex((link) => link.getAttribute("aria-current") === "true");
    const from = here >= 0 ? here : current;
    const next = from < 0 ? 0 : Math.max(0, Math.min(links.length - 1, from + step));
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  }

  // The focus moves at once: what is typed next belongs there.
  function unfold(selector, part) {
    const panel = document.querySelector(selector);
    if (!panel) return;
    panel.open = true;
    panel.querySelector(part)?.focus();
  }
  // On the page of an approval, its neighbours open; in a list, the focus moves.
  const step = (selector, by) => (document.getElementById("item") ? press(selector) : move(by));

  const keys = {
    j: () => step("#next-one", 1),
    k: () => step("#previous-one", -1),
    s: () => press("#skip-for-now"),
    z: () => unfold("#snooze-panel", ".sheet .button"),
    u: () => document.querySelector("[data-undo], #undo")?.focus(),
    "/": () => { const search = document.getElementById("search"); if (search) { search.focus(); search.select(); } },
    "?": () => document.getElementById("help").showModal(),
    a: () => {
      const primary = [...document.querySelectorAll("[data-primary]")].find((button) => button.offsetParent !== null);
      if (!primary) return;
      if (primary.disabled || primary.getAttribute("aria-disabled")) document.querySelector("#standing[data-stale], #why-none")?.focus();
      else if (primary.matches("summary")) primary.parentElement.open = true;
      else primary.focus();
    },
    c: () => document.querySelector("#claim-it, #take-over-open, #release")?.focus(),
    x: () => document.activeElement.closest("[data-row]")?.querySelector("[data-pick]")?.click(),
    X: () => document.activeElement.closest("[data-row]")?.querySelector("[data-pick]")?.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: true })),
    e: () => press("#edit-open:not([disabled]), #answer-open:not([disabled])"),
    r: () => unfold("#reject-panel:has(> summary:not([aria-disabled]))", "textarea"),
    g: () => { leader = Date.now(); },
  };
  const places = { q: "#nav-queue", t: "#nav-threads", a: "#nav-audit", s: "#nav-start" };

  // As if its button had been pressed: what is disabled, or asks first, does so here too.
  function send(event) {
    const form = event.target.form || event.target.closest("form") || event.target.closest("details.panel[open]")?.querySelector("form");
    if (!form || form.method !== "post") return;
    event.preventDefault();
    const primary = [...document.querySelectorAll("[data-primary][form]")].find((button) => button.form === form && button.offsetParent !== null);
    const button = primary || [...form.elements].find((item) => item.type === "submit");
    if (button) button.click();
    else form.requestSubmit();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return send(event);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || isOff()) return;
    const led = Date.now() - leader < 1200;
    leader = 0;
    if (led && places[event.key]) { event.preventDefault(); return go(places[event.key]); }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("keys-off");
    if (!box) return;
    box.checked = isOff();
    box.addEventListener("change", () => localStorage.setItem(OFF, box.checked ? "1" : "0"));
  });
})();
