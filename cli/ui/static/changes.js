// What the guest changed in its copy of the project, file by file.

import { get, post } from "./api.js";
import { act, h, say } from "./dom.js";
import { file, title } from "./difference.js";

/** How many files are open at first. */
const OPEN = 3;

/** Makes the panel. It looks when it is asked to: the copy may be large. */
export function changes(panel) {
  const look = h("button", { type: "button" }, "Look again");
  const apply = h("button", { class: "yes", type: "button", disabled: true }, "Apply 0 paths");
  const all = h("input", { type: "checkbox", id: "all-changes" });
  const every = h("label", { for: "all-changes" }, "All that can be applied");
  const where = h("p", { class: "quiet" });
  const list = h("div", { class: "card" });
  panel.append(
    h("div", { class: "actions" }, look, apply, h("span", { class: "choice" }, all, every)),
    where,
    list,
  );
  let [bottle, boxes, seen] = [null, [], null];

  const count = () => {
    const picked = boxes.filter(([box]) => box.checked);
    const over = picked.filter(([, one]) => one.conflict).length;
    say(
      apply,
      `Apply ${picked.length} ${picked.length === 1 ? "path" : "paths"}${over ? `, and overwrite ${over} of yours` : ""}`,
    );
    apply.disabled = picked.length === 0;
  };
  const entry = (one, at) => {
    const why = one.kept ? h("span", { class: "quiet" }, `  stays in the guest: ${one.kept}`) : null;
    const name = title(one.letter, one.path, why);
    const content = one.difference ?? {
      notes: ["There is too much of it to show: `bottle diff` does."],
      sides: [],
      hunks: [],
    };
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Apply ${one.path}`,
      disabled: !one.may_be_applied,
      change: count,
    });
    boxes.push([box, one]);
    return h("div", { class: "pick" }, box, file(name, content, at < OPEN));
  };
  const load = async () => {
    const of = bottle;
    let now;
    try {
      now = await get("changes", { bottle });
    } catch (error) {
      if (!error.answered) throw error;
      now = { files: [], more: 0, with_attributes: 0, failed: error.message };
    }
    if (of !== bottle) return;
    seen = bottle;
    boxes = [];
    all.checked = false;
    const notes = [now.failed ?? `The guest works on a copy of ${now.project}.`];
    if (!now.failed && !now.files.length) notes.push("It has changed nothing.");
    if (now.more) notes.push(`${now.more} more paths differ and are not shown.`);
    if (now.with_attributes)
      notes.push(`${now.with_attributes} files have extended attributes, which stay in the guest.`);
    say(where, notes.join(" "));
    list.hidden = !now.files.length;
    all.disabled = !now.files.length;
    list.replaceChildren(...now.files.map(entry));
    count();
  };
  look.addEventListener("click", () => act(look, load));
  all.addEventListener("change", () => {
    // A change of your own is never overwritten unless you pick it.
    for (const [box, one] of boxes) box.checked = all.checked && one.may_be_applied && !one.conflict;
    count();
  });
  apply.addEventListener("click", async () => {
    const picked = boxes.filter(([box]) => box.checked).map(([, { key, digest }]) => ({ key, digest }));
    await act(apply, () => post("apply", { bottle, picked }));
    await act(look, load);
  });
  return async (slug) => {
    if (slug === seen) return;
    bottle = slug;
    list.replaceChildren();
    say(where, "Looking \u2026");
    await load();
  };
}
