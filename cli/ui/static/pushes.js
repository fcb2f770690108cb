// The pushes of a bottle that wait, each with what it would change at its upstream.

import { get, post } from "./api.js";
import { act, announce, clock, follow, h } from "./dom.js";
import { file, title } from "./difference.js";

/** How many files are open at first. */
const OPEN = 5;

function compared(seen) {
  const files = seen.files.map((one, at) =>
    file(title(one.title.slice(0, 1), one.title.slice(2)), one, at < OPEN),
  );
  return [
    h("h3", {}, "What was scanned"),
    h("ul", { class: "sentences" }, ...seen.scanned.map((sentence) => h("li", {}, sentence))),
    h("h3", {}, "What it is"),
    h(
      "pre",
      { class: "wide" },
      seen.notes.filter((note) => !note.startsWith("files that differ")).join("\n"),
    ),
    h("h3", {}, seen.files.length === 1 ? "One file differs" : `${seen.files.length} files differ`),
    h("div", {}, ...files),
  ];
}

function push(bottle, one, again) {
  const name = { bottle, repo: one.repo, key: one.key };
  const [look, yes, no] = [
    h("button", { type: "button" }, "Look at it"),
    h("button", { class: "yes", type: "button", disabled: true }, "Approve this commit"),
    h("button", { class: "no", type: "button", disabled: true }, "Reject"),
  ];
  const inside = h("div", { class: "inside" });
  let commit = null;
  look.addEventListener("click", () =>
    act(look, async () => {
      const seen = await get("push", name);
      commit = seen.commit;
      inside.replaceChildren(...compared(seen));
      yes.disabled = no.disabled = false;
    }),
  );
  // What is sent back is the commit that was shown.
  const decide = (button, approved) =>
    act(button, async () => {
      const done = await post("push", { ...name, commit, approved });
      again();
      return done;
    });
  yes.addEventListener("click", () => decide(yes, true));
  no.addEventListener("click", () => decide(no, false));
  const many = one.commits === 1 ? "1 commit" : `${one.commits} commits`;
  const own = one.own_commits ? `, and ${one.own_commits} of yours that the upstream does not have yet` : "";
  return h(
    "section",
    { class: "card", "aria-label": `Push to ${one.branch} of ${one.repo}` },
    h("h3", {}, `${one.branch} of ${one.repo}`),
    h("p", {}, one.subject),
    h("p", { class: "quiet" }, `${many}${own} \u00b7 `, h("code", {}, one.commit)),
    one.pushed
      ? null
      : h(
          "p",
          { class: "trouble" },
          "Nobody pushed this: it is in your repository, which the guest can write.",
        ),
    h("div", { class: "actions" }, look, yes, no),
    inside,
  );
}

/** Makes the panel. */
export function pushes(panel) {
  const list = h("div");
  const empty = h("p", { class: "quiet" }, "No push waits.");
  const refused = h("ul", { class: "sentences" });
  const findings = h(
    "section",
    { class: "card", "aria-label": "Refused pushes" },
    h("h3", {}, "Refused lately, with what was found"),
    refused,
  );
  panel.append(empty, list, findings);
  let shown = null;
  const refresh = async (bottle) => {
    const [waiting, log] = await Promise.all([get("pushes", { bottle }), get("log", { bottle, after: 0 })]);
    const findings_of = log.lines.filter((line) => line.part === "git-gate" && line.class === "refused");
    follow(
      refused,
      findings_of.slice(-20).reverse(),
      (line) => `${bottle} ${line.number}`,
      (line) => [h("li", {}, `${clock(line.time_ms)} `, h("code", {}, line.details)), null],
    );
    findings.hidden = !findings_of.length;
    // One that is looked at stays as it is until the list changes.
    const now = JSON.stringify([bottle, waiting]);
    if (now === shown) return;
    shown = now;
    const again = () => refresh(bottle).catch((error) => announce(error.message));
    list.replaceChildren(...waiting.map((one) => push(bottle, one, again)));
    empty.hidden = waiting.length > 0;
  };
  return refresh;
}
