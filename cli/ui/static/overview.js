// Shows the bottles, and what their agents ask.

import { post } from "./api.js";
import { act, announce, follow, h, say, span, the } from "./dom.js";

/** Makes the card of a request. */
function request(first, decided) {
  const from = h("span", {}, first.bottle);
  const since = h("span");
  const answer = h("input", { type: "text", maxlength: "4000", autocomplete: "off" });
  const yes = h(
    "button",
    { class: "yes", type: "button", "aria-keyshortcuts": "a" },
    first.needs_an_answer ? "Answer" : "Approve",
  );
  const no = h("button", { class: "no", type: "button", "aria-keyshortcuts": "r" }, "Refuse");
  const title = h("h3", { id: `request-${first.bottle}-${first.number}` }, first.says);
  const changes = first.changes.map(({ added, rule }) =>
    h("li", { class: added ? "added" : "gone" }, h("code", {}, rule)),
  );
  const nothing =
    first.changes.length || first.needs_an_answer
      ? null
      : h("p", { class: "quiet" }, "The rules already say so.");
  const card = h(
    "div",
    { class: "card request", tabindex: "0", role: "group", "aria-labelledby": title.id },
    h("p", { class: "from" }, from, since),
    title,
    h("p", { class: "words" }, first.words),
    first.changes.length
      ? h("ul", { class: "rules", "aria-label": "What an approval changes in the rules" }, ...changes)
      : nothing,
    first.forbidden ? h("p", { class: "trouble" }, first.forbidden) : null,
    first.needs_an_answer ? h("label", {}, "Your answer", answer) : null,
    h("div", { class: "actions" }, yes, no),
    first.needs_an_answer
      ? null
      : h(
          "details",
          { class: "word" },
          h("summary", {}, "Add a word to the agent"),
          h("label", {}, "What it is told", answer),
        ),
  );
  const item = h("li", {}, card);
  const other = (sibling) => sibling?.querySelector(".request");
  const decide = (button, approved) =>
    act(button, async () => {
      const { bottle, number, seen } = first;
      const done = await post("answer", { bottle, number, seen, approved, says: answer.value || null });
      const next = other(item.nextElementSibling) ?? other(item.previousElementSibling) ?? the("inbox-title");
      item.remove();
      next.focus();
      decided();
      return done;
    });
  const approve = () => {
    if (first.needs_an_answer && !answer.value.trim()) {
      answer.focus();
      announce("A question needs an answer");
    } else if (!yes.disabled) decide(yes, true);
  };
  yes.addEventListener("click", approve);
  no.addEventListener("click", () => decide(no, false));
  answer.addEventListener("keydown", (event) => event.key === "Enter" && approve());
  // The keys act only while the card itself has the focus.
  card.addEventListener("keydown", (event) => {
    if (event.target !== card || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "a") approve();
    if (event.key === "r") decide(no, false);
    const next = other(
      { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key],
    );
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
  yes.disabled = Boolean(first.forbidden);
  const update = (now) => {
    const gone = now.waits ? "" : ", the agent went on";
    say(since, `${span((Date.now() - now.since_ms) / 1000)} ago${gone}`);
  };
  return [item, update];
}

/** Makes the button of a bottle. */
function bottle(first, choose) {
  const name = h("span", { class: "name" }, first.slug);
  const [state, facts] = [h("span"), h("span", { class: "facts" })];
  const button = h(
    "button",
    { class: "bottle", type: "button", click: () => choose(first.slug) },
    name,
    state,
    facts,
  );
  const update = (now) => {
    state.className = `state ${now.state}`;
    say(state, now.busy ? `${now.busy} is under way` : now.state);
    const pushes = now.pushes ? [`${now.pushes} ${now.pushes === 1 ? "push waits" : "pushes wait"}`] : [];
    const up = now.uptime_s == null ? [] : [`up ${span(now.uptime_s)}`];
    say(facts, [...up, ...pushes, ...(now.report ? [now.report] : [])].join(" \u00b7 "));
    button.setAttribute("aria-current", String(now.chosen));
  };
  return [h("li", {}, button), update];
}

/** Shows all of it. `chosen` is the bottle that is looked at. */
export function overview(seen, chosen, choose, decided) {
  const shown = seen.bottles.map((one) => ({ ...one, chosen: one.slug === chosen }));
  follow(
    the("bottles"),
    shown,
    (one) => one.slug,
    (one) => bottle(one, choose),
  );
  follow(
    the("inbox"),
    seen.inbox,
    (one) => `${one.bottle}.${one.number}.${one.seen}`,
    (one) => request(one, decided),
  );
  the("bottles-empty").hidden = seen.bottles.length > 0;
  the("inbox-empty").hidden = seen.inbox.length > 0;
  the("inbox-keys").hidden = seen.inbox.length === 0;
  const running = seen.bottles.filter((one) => one.uptime_s != null).length;
  say(the("summary"), `${running} of ${seen.bottles.length} running \u00b7 ${seen.inbox.length} waiting`);
  document.title = seen.inbox.length ? `(${seen.inbox.length}) bottle` : "bottle";
}
