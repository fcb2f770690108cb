// The log of a bottle: what happened when, where requests went, and which hosts were refused.

import { get, post } from "./api.js";
import { act, announce, clock, follow, h, say, span } from "./dom.js";
import { minutes } from "./plot.js";

/** How many lines are on the page. */
const LINES = 500;

/** A row of the table of destinations. */
function destination() {
  const cells = ["number", "", "", "", ""].map((name) => h("td", name ? { class: name } : {}));
  const word = h("span");
  cells[1].append(word);
  const update = (now) => {
    say(cells[0], String(now.count));
    word.className = `${now.class}-word`;
    say(word, now.class);
    say(cells[2], now.name);
    say(cells[3], now.reason || now.part);
    say(cells[4], `${span((Date.now() - now.last_ms) / 1000)} ago`);
  };
  return [h("tr", {}, ...cells), update];
}

function line(one) {
  const element = h(
    "li",
    {},
    h("span", { class: "when" }, one.time_ms ? clock(one.time_ms) : ""),
    h("span", {}, one.part),
    h("span", { class: `${one.class}-word` }, one.event),
    h("span", { class: "what" }, one.details),
  );
  return [element, null];
}

/** A refused host, with the three answers. */
function refused(slug, first, again) {
  const [count, host, state] = [
    h("td", { class: "number" }),
    h("td", {}, h("code", {}, first.rule)),
    h("td"),
  ];
  const decide = (scope, label) => {
    const button = h("button", { type: "button", "aria-label": `${label}: ${first.rule}` }, label);
    if (scope === "not") button.className = "no";
    button.addEventListener("click", () =>
      act(button, async () => {
        const done = await post("rule", { bottle: slug, host: first.rule, scope });
        again();
        return done;
      }),
    );
    return button;
  };
  const buttons = [
    decide("bottle", "Allow for this bottle"),
    decide("project", "Allow for this project"),
    decide("not", "Not"),
  ];
  const row = h(
    "tr",
    {},
    count,
    host,
    state,
    h("td", { class: "decide" }, h("div", { class: "actions" }, ...buttons)),
  );
  const update = (now) => {
    say(count, `${now.count}\u00d7`);
    const words = {
      allowed: "allowed now",
      denied: "closed by you",
      undecided: `last ${span((Date.now() - now.last_ms) / 1000)} ago`,
    };
    say(state, words[now.standing]);
    state.className = { allowed: "allowed-word", denied: "refused-word", undecided: "quiet" }[now.standing];
  };
  return [row, update];
}

/** Makes both panels. */
export function log(panel, refusals) {
  const plot = h("div");
  const axis = h(
    "p",
    { class: "axis", "aria-hidden": "true" },
    h("span", {}, "an hour ago"),
    h("span", {}, "now"),
  );
  const rows = h("tbody");
  const others = h("p", { class: "quiet" });
  const lines = h("ol", {
    class: "plain lines card",
    tabindex: "0",
    "aria-label": "The newest lines of the log",
  });
  const only = h("input", { type: "checkbox", id: "only-refused" });
  const empty = h("p", { class: "quiet" }, "Nothing was asked for yet.");
  const heads = ["Count", "Verdict", "Destination", "Reason or part", "Last"];
  const table = h(
    "table",
    { class: "list" },
    h(
      "thead",
      {},
      h("tr", {}, ...heads.map((head, at) => h("th", { scope: "col", class: at ? "" : "number" }, head))),
    ),
    rows,
  );
  panel.append(
    h(
      "div",
      { class: "card" },
      h("h3", {}, "The last hour"),
      h(
        "p",
        { class: "legend" },
        h("span", { class: "refused" }, "refused"),
        h("span", { class: "allowed" }, "allowed"),
      ),
      plot,
      axis,
    ),
    h(
      "div",
      { class: "card" },
      h("h3", {}, "By destination"),
      empty,
      h("div", { class: "wide" }, table),
      others,
    ),
    h(
      "p",
      { class: "choice" },
      only,
      h("label", { for: "only-refused" }, "Only what was refused"),
      h("span", { class: "quiet" }, "Times are UTC."),
    ),
    lines,
  );
  const hosts = h("tbody");
  const none = h("p", { class: "quiet" }, "No host was refused that a rule could open.");
  const rest = h("ul", { class: "plain" });
  const names = ["Requests", "Host", "State", "Decision"];
  const list = h(
    "table",
    { class: "list stacks" },
    h("thead", {}, h("tr", {}, ...names.map((head) => h("th", { scope: "col" }, head)))),
    hosts,
  );
  refusals.append(
    h(
      "div",
      { class: "card" },
      h("h3", {}, "Refused hosts"),
      none,
      list,
      h(
        "p",
        { class: "quiet" },
        "\u201cNot\u201d closes a host for this bottle, whatever else covers it. " +
          "\u201cProject\u201d also writes it into bottle.toml.",
      ),
    ),
    h("div", { class: "card" }, h("h3", {}, "Refused whatever the rules say"), rest),
  );
  let [slug, last, kept, drawn] = [null, 0, [], ""];

  const show = () => {
    const shown = only.checked ? kept.filter((one) => one.class === "refused") : kept;
    const at_end = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 24;
    follow(lines, shown, (one) => one.number, line);
    if (at_end) lines.scrollTop = lines.scrollHeight;
  };
  only.addEventListener("change", show);

  const refresh = async (bottle) => {
    if (bottle !== slug) [slug, last, kept, drawn] = [bottle, 0, [], ""];
    const now = await get("log", { bottle, after: last });
    if (bottle !== slug) return;
    // A new bottle of the same name has a log that begins again.
    if (now.last < last) [kept, last] = [[], 0];
    kept = [...kept, ...now.lines.filter((one) => one.number > last)].slice(-LINES);
    last = now.last;
    if (JSON.stringify(now.minutes) !== drawn) {
      drawn = JSON.stringify(now.minutes);
      plot.replaceChildren(minutes(now.minutes));
    }
    const key = (one) => `${one.class} ${one.name} ${one.reason} ${one.rule}`;
    follow(rows, now.destinations.slice(0, 12), key, destination);
    const more = now.destinations.slice(12).reduce((sum, one) => sum + one.count, now.others);
    say(
      others,
      [
        now.reading ? "older lines are still being read" : "",
        more ? `${more} more to other destinations` : "",
      ]
        .filter(Boolean)
        .join(" \u00b7 "),
    );
    empty.hidden = now.destinations.length > 0;
    table.hidden = !empty.hidden;
    show();
    const wanted = now.destinations.filter((one) => one.class === "refused");
    const openable = [...new Map(wanted.filter((one) => one.rule).map((one) => [one.rule, one])).values()];
    follow(
      hosts,
      openable,
      (one) => `${bottle} ${one.rule}`,
      (one) => refused(bottle, one, () => refresh(bottle).catch((error) => announce(error.message))),
    );
    none.hidden = openable.length > 0;
    list.hidden = !none.hidden;
    const other = wanted.filter((one) => !one.rule);
    rest.parentElement.hidden = other.length === 0;
    follow(rest, other, key, (one) => {
      const text = h("span");
      return [
        h("li", {}, text),
        (is) => say(text, `${is.count}\u00d7 ${is.name} (${is.part}: ${is.reason})`),
      ];
    });
  };
  return refresh;
}
