// Shows the difference of a file, both sides beside each other.

import { h } from "./dom.js";

/** How many lines are shown at first. */
const LINES = 400;

/** Puts the removed and the added lines of a hunk beside each other. */
function rows(hunk) {
  let [old, now] = [hunk.old, hunk.new];
  const found = [];
  let [removed, added] = [[], []];
  const text = (line) =>
    line.text.replace(/\r?\n$/, "") + (line.unfinished ? "\u2003(no newline at the end)" : "");
  const flush = () => {
    for (let at = 0; at < Math.max(removed.length, added.length); at += 1)
      found.push([removed[at], added[at]]);
    [removed, added] = [[], []];
  };
  for (const line of hunk.lines) {
    if (line.sign === "-") removed.push([old++, text(line)]);
    else if (line.sign === "+") added.push([now++, text(line)]);
    else {
      flush();
      found.push([[old++, text(line)], [now++, text(line)], true]);
    }
  }
  flush();
  return found;
}

function row([left, right, same]) {
  const cell = (side, name) =>
    side
      ? [
          h("td", { class: "no" }, String(side[0])),
          h("td", { class: same ? `same ${name === "new" ? "again" : ""}` : name }, side[1]),
        ]
      : [h("td", { class: "no void" }), h("td", { class: "void" })];
  return h("tr", {}, ...cell(left, "old"), ...cell(right, "new"));
}

function columns() {
  return h("colgroup", {}, h("col", { class: "no" }), h("col"), h("col", { class: "no" }), h("col"));
}

/** Makes the table of a difference. */
export function difference(file) {
  const parts = file.notes.map((note) => h("p", { class: "quiet" }, note));
  parts.push(...file.sides.map((side) => h("p", {}, h("code", {}, side))));
  if (file.hunks.length) {
    const body = h("tbody");
    const all = file.hunks.flatMap((hunk) => [hunk.header, ...rows(hunk)]);
    const show = (some) =>
      body.append(
        ...some.map((one) =>
          typeof one === "string"
            ? h("tr", { class: "hunk" }, h("td", { class: "no" }), h("td", { colspan: "3" }, one))
            : row(one),
        ),
      );
    show(all.slice(0, LINES));
    parts.push(
      h("table", { class: "diff", "aria-label": `${file.names[0]} and ${file.names[1]}` }, columns(), body),
    );
    if (all.length > LINES) {
      const more = h("button", { type: "button" }, `Show ${all.length - LINES} more lines`);
      more.addEventListener("click", () => {
        show(all.slice(LINES));
        more.remove();
      });
      parts.push(more);
    }
  }
  if (!parts.length) parts.push(h("p", { class: "quiet" }, "The content is the same."));
  return h("div", {}, ...parts);
}

/** Makes the title of a file: its letter and its name. */
export function title(letter, name, ...more) {
  const words = { A: "added", M: "changed", D: "deleted" };
  return h(
    "span",
    {},
    h("span", { class: `letter ${letter}`, title: words[letter] }, letter),
    h("code", {}, name),
    ...more,
  );
}

/** Makes a file that can be folded. Its difference is made when it is opened. */
export function file(name, one, open) {
  const details = h("details", { class: "file" }, h("summary", {}, name));
  const fill = () => {
    if (details.open && details.childElementCount === 1) details.append(difference(one));
  };
  details.addEventListener("toggle", fill);
  details.open = open;
  fill();
  return details;
}
