// The decision bar: its one primary button says and sends what is on the screen. The server decides all the same: it
// asks before it takes what was not shown.
(() => {
  const KEPT = "countersign-typed-";
  const byId = (id) => document.getElementById(id);
  const isStale = () => Boolean(document.querySelector("#standing[data-stale]"));

  // What differs from how the page was drawn. A select without a choice of its own shows its first.
  function isChanged(field) {
    if (!field.name || field.type === "hidden" || field.type === "submit" || field.name === "comment") return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
    const drawn = [...field.options].filter((option) => option.defaultSelected);
    const first = drawn.length || field.multiple ? drawn : [field.options[0]];
    return [...field.options].some((option) => option.selected !== first.includes(option));
  }
  const isTouched = (form) => Boolean(form) && [...form.elements].some(isChanged);

  // What an answer form says: what is chosen, of how many, and whether anything is filled in at all.
  function read(form) {
    const chosen = [...form.querySelectorAll(".verdicts input:checked")].map((radio) => radio.value);
    const count = form.querySelectorAll(".choice").length;
    const isStateEdited = [...form.querySelectorAll("#state-edit :is(input, select, textarea)")].some(isChanged);
    const isWritten = [...form.querySelectorAll(".then-reject textarea, .then-respond textarea")].some((text) => text.value.trim());
    return { chosen, count, isStateEdited, isTyped: count ? chosen.length > 0 || isStateEdited || isWritten : isTouched(form) };
  }
  const needsLook = (form, said) => said.isStateEdited || said.chosen.includes("edit") || form.dataset.needsLook === "yes";

  function labelOf(form, said) {
    const left = said.count - said.chosen.length;
    if (left) return `Decide on ${left} more`;
    const kinds = ["approve", "edit", "reject", "respond"].map((kind) => [said.chosen.filter((one) => one === kind).length, kind]);
    const told = kinds.filter(([many]) => many).map(([many, kind]) => `${many} ${kind}`).join(", ");
    const verb = needsLook(form, said) ? "Review" : form.dataset.verb;
    return `${verb} ${said.count} decision${said.count === 1 ? "" : "s"}: ${told}`;
  }

  // Which button is the primary one, what it says, and the button that it stands for while something must be seen first.
  function edited(form) {
    const preview = byId("preview");
    const isTyped = isTouched(form);
    if (preview) preview.querySelector(".stale-note").hidden = !isTyped;
    if (preview && !isTyped) return { isTyped: true, label: preview.dataset.label };
    if (!isTyped && form.dataset.typed !== "yes") return { isTyped: false };
    return { isTyped: true, label: preview ? "Preview again" : "Preview the edit", first: "preview-button" };
  }

  function answered(form) {
    const review = byId("review");
    const isChangedSince = isTouched(form);
    if (review) review.querySelector(".stale-note").hidden = !isChangedSince;
    if (review && !isChangedSince) return { isTyped: true, label: review.dataset.label };
    const said = read(form);
    if (!said.isTyped && document.querySelector("[data-candidate=plain]")) return { isTyped: false };
    const isComplete = said.count === said.chosen.length;
    const isFirst = isComplete && needsLook(form, said);
    const label = said.count ? labelOf(form, said) : isFirst ? "Review the answer" : `${form.dataset.verb} this answer`;
    return { isTyped: true, label, first: isFirst ? "review-button" : "" };
  }

  function state() {
    if (byId("edit-form")) return edited(byId("edit-form"));
    return byId("answer-form") ? answered(byId("answer-form")) : { isTyped: false };
  }

  let first = "";
  function arrange() {
    const bar = byId("decide");
    if (!bar) return;
    const now = state();
    const plain = bar.querySelector("[data-candidate=plain]");
    const typed = bar.querySelector("[data-candidate=typed]");
    const isTyped = Boolean(typed) && now.isTyped;
    if (plain) plain.hidden = isTyped;
    if (typed) typed.hidden = !isTyped;
    first = isTyped ? now.first || "" : "";
    if (isTyped) {
      const button = typed.querySelector("[data-primary]");
      if (now.label && button.textContent !== now.label) button.textContent = now.label;
      button.classList.toggle("strong", Boolean(first));
      button.classList.toggle("primary", !first);
    }
    // With scripts, this button is seen only while nothing is filled in.
    plain?.querySelector("[data-primary][form]")?.setAttribute("form", "approve-form");
    byId("approve-comment")?.setAttribute("form", isTyped ? typed.querySelector("[data-primary]").getAttribute("form") : "approve-form");
    for (const part of document.querySelectorAll("[data-when=typed]")) part.hidden = !isTyped;
    freeze(bar);
  }

  // A page that is no longer true sends nothing; what was typed can still be read, copied and taken along.
  function freeze(bar) {
    bar.classList.toggle("is-stale", isStale());
    if (!isStale()) return;
    const senders = [...bar.querySelectorAll(".bar button"), ...document.querySelectorAll("#edit button, #answer button, #tally button")];
    for (const button of senders) {
      button.disabled = true;
      button.setAttribute("aria-describedby", "standing");
    }
    for (const opener of bar.querySelectorAll(".bar summary, .bar a")) {
      opener.setAttribute("aria-disabled", "true");
      opener.setAttribute("aria-describedby", "standing");
    }
  }

  const hidden = (name, value) => Object.assign(document.createElement("input"), { type: "hidden", name, value });
  const valueOf = (field) => (field.type === "checkbox" || field.type === "radio" ? field.checked && field.value : field.value);

  // Take along what was typed: the server keeps what is whole, this tab the rest, until it has been shown again.
  function takeAlong(form) {
    const forms = [byId("edit-form"), byId("answer-form")].filter(Boolean);
    const sender = forms.find((each) => isTouched(each) || each.dataset.typed === "yes");
    const areas = [...document.querySelectorAll("#decide textarea, #edit-comment, #answer-comment")];
    const words = areas.map((area) => area.value).find((text) => text.trim());
    if (words) form.append(hidden("comment", words));
    for (const [name, value] of sender ? new FormData(sender) : []) {
      if (!["csrfmiddlewaretoken", "comment", "do"].includes(name) && typeof value === "string") form.append(hidden(name, value));
    }
    keepHere();
  }

  // For the next time that this page is drawn, in this tab: secrets are not kept.
  let keptFrom = null;
  function keepHere() {
    keptFrom = byId("decide");
    if (!keptFrom) return;
    const fields = [...document.querySelectorAll("#edit-form, #answer-form")].flatMap((each) => [...each.elements]);
    const typed = fields.filter((field) => isChanged(field) && field.type !== "password").map((field) => [field.name, field.type, valueOf(field)]);
    const kept = { shown: keptFrom.dataset.shown, reason: byId("reject-reason")?.value || "", typed };
    sessionStorage.setItem(KEPT + location.pathname, JSON.stringify(kept));
  }

  function giveBack() {
    const kept = sessionStorage.getItem(KEPT + location.pathname);
    if (!kept || !byId("decide") || byId("decide") === keptFrom || isStale()) return;
    sessionStorage.removeItem(KEPT + location.pathname);
    const { shown, typed, reason } = JSON.parse(kept);
    if (reason.trim() && byId("reject-reason")) {
      byId("reject-reason").value = reason;
      byId("reject-panel").open = true;
    }
    if (shown !== byId("decide").dataset.shown) return; // another question: its fields mean something else
    for (const [name, type, value] of typed) for (const field of document.getElementsByName(name)) put(field, type, value);
  }

  function put(field, type, value) {
    if (type === "radio") field.checked = field.checked || field.value === value;
    else if (type === "checkbox") field.checked = value !== false;
    else if (field.type !== "hidden") field.value = value;
    const part = field.closest("details");
    if (part) part.open = true;
  }

  // While something is typed: this tab keeps all of it, the server what is whole. Whoever leaves is asked.
  const KEEP_AFTER = 1200;
  let keeping = 0;
  let isSending = false;
  const areas = () => [...document.querySelectorAll("#decide textarea, #edit-comment, #answer-comment")];
  const isWritten = () => [byId("edit-form"), byId("answer-form")].some(isTouched) || areas().some((area) => area.value !== area.defaultValue);
  function keepDraft() {
    const bar = byId("decide");
    if (!bar?.dataset.draft || isStale() || isSending) return;
    const form = [byId("edit-form"), byId("answer-form")].find((each) => isTouched(each)) || byId("approve-form") || bar.querySelector("form");
    if (!form) return;
    const typed = new FormData(form);
    const words = areas().map((area) => area.value).find((text) => text.trim());
    typed.set("comment", words || "");
    for (const [name, value] of [...typed]) if (typeof value !== "string") typed.delete(name);
    fetch(bar.dataset.draft, { method: "POST", body: new URLSearchParams(typed), headers: { "X-CSRFToken": typed.get("csrfmiddlewaretoken") } }).catch(() => {});
  }
  document.addEventListener("input", (event) => {
    if (!event.target.closest("#edit, #answer, #decide") || event.target.id === "snooze-until") return;
    keepHere();
    clearTimeout(keeping);
    keeping = setTimeout(keepDraft, KEEP_AFTER);
  });
  const sent = () => {
    isSending = true;
    clearTimeout(keeping);
    setTimeout(() => { isSending = false; }, 3000); // refused, or the server did not answer
  };
  document.addEventListener("submit", sent, true);
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.requestConfig.verb !== "post") return;
    sent();
    // Their answer has what was typed.
    if (/\/(vote|preview|answer)\/$/.test(detail.requestConfig.path)) sessionStorage.removeItem(KEPT + location.pathname);
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => { if (detail.requestConfig?.verb === "post") isSending = false; });
  addEventListener("beforeunload", (event) => {
    if (isSending || isStale() || !byId("decide") || !isWritten()) return;
    keepDraft();
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const off = event.target.closest("[aria-disabled=true]");
    const isFirst = first && event.target.closest("[data-candidate=typed] [data-primary]");
    if (!isFirst && (!off || off.closest("details[open]"))) return;
    event.preventDefault();
    event.stopPropagation();
    if (isFirst) byId(first).click();
  }, true);
  document.addEventListener("submit", (event) => { 
    if (event.target.matches(".look-again")) takeAlong(event.target);
    else if (event.target.matches("#see-end, #claim form, #tally form")) keepHere();
  }, true);
  for (const name of ["input", "change"]) document.addEventListener(name, (event) => { if (event.target.closest("#edit, #answer")) arrange(); });
  document.addEventListener("DOMContentLoaded", () => { giveBack(); arrange(); });
  for (const name of ["htmx:afterSettle", "htmx:afterRequest"]) document.addEventListener(name, () => { giveBack(); arrange(); });

  // Back to a page that the browser had kept: it may have been decided meanwhile, and what was typed is still there.
  addEventListener("pageshow", (event) => {
    arrange();
    const isBack = event.persisted || performance.getEntriesByType("navigation")[0]?.type === "back_forward";
    if (isBack && byId("standing")) document.body.dispatchEvent(new CustomEvent("changed-thread"));
  });

  // A bar that came anew. Words that have no place on it stay on the old one, which says why nothing can be sent from it.
  let verb = "";
  document.addEventListener("htmx:beforeSwap", (event) => { verb = event.detail.requestConfig?.verb ?? ""; });  // Back has no request
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id !== "decide" || verb === "post") return;
    const why = fragment.querySelector("#why-none");
    const isLost = [...target.querySelectorAll("textarea[id]")].some((old) => old.value.trim() && !fragment.querySelector(`#${old.id}`));
    if (!isLost || !why) return;
    event.detail.shouldSwap = false;
    for (const button of target.querySelectorAll(".bar button")) {
      button.disabled = true;
      button.setAttribute("aria-describedby", "why-none");
    }
    byId("why-none")?.remove();
    target.querySelector(".bar").before(why);
  });
  // The comment moves to the preview, where there is one.
  let comment = "";
  document.addEventListener("htmx:beforeSwap", () => { comment = byId("approve-comment")?.value || ""; });
  document.addEventListener("htmx:afterSettle", () => {
    const place = byId("edit-comment") || byId("answer-comment");
    if (place && !place.value && comment && !byId("approve-comment")) place.value = comment;
  });


  // Several at once: the button counts what it sends.
  function tellVotes() {
    const button = byId("send-votes");
    if (!button) return;
    const words = [...document.querySelectorAll(".bulk-item .verdicts input:checked")].map((radio) => radio.dataset.word).filter(Boolean);
    const kinds = ["approve", "agree", "reject"].map((kind) => [words.filter((word) => word === kind).length, kind]).filter(([many]) => many);
    const told = kinds.map(([many, kind]) => `${many} ${kind}`).join(", ");
    button.textContent = words.length ? `Send ${words.length} vote${words.length === 1 ? "" : "s"}: ${told}` : "All are left out";
    button.disabled = !words.length;
  }
  document.addEventListener("click", (event) => {
    if (event.target.id !== "reject-all") return;
    event.preventDefault();
    for (const radio of document.querySelectorAll(".bulk-item .verdicts input[value=reject]")) radio.checked = true;
    tellVotes();
    byId("bulk-comment").focus();
  });
  document.addEventListener("change", (event) => { if (event.target.closest(".bulk-item")) tellVotes(); });
  for (const name of ["DOMContentLoaded", "pageshow"]) addEventListener(name, tellVotes);
})();
