// What a bottle uses, and what it can reach.

import { get, post } from "./api.js";
import { act, announce, bytes, follow, h, say } from "./dom.js";
import { line, ports } from "./plot.js";

/** How many values a plot has. */
const VALUES = 120;

/** What is measured: its name, its value between two measurements, the least scale, and how it is written. */
const GAUGES = [
  [
    "Processor",
    (a, b, s) => (b.cpu_ms == null || a.cpu_ms == null ? null : (b.cpu_ms - a.cpu_ms) / 10 / s),
    () => 100,
    (v, b) => `${v.toFixed(0)} % of ${b.cpus * 100} %`,
  ],
  [
    "Memory",
    (a, b) => b.memory,
    (b) => b.memory_limit / 8,
    (v, b) => `${bytes(v)} of ${bytes(b.memory_limit)}`,
  ],
  [
    "Network, to the guest",
    (a, b, s) => (b.received - a.received) / s,
    () => 1024,
    (v, b) => `${bytes(v)}/s, ${bytes(b.received)} so far`,
  ],
  [
    "Network, from the guest",
    (a, b, s) => (b.sent - a.sent) / s,
    () => 1024,
    (v, b) => `${bytes(v)}/s, ${bytes(b.sent)} so far`,
  ],
  [
    "Disk, read",
    (a, b, s) => (b.read == null || a.read == null ? null : (b.read - a.read) / s),
    () => 1024,
    (v, b) => `${bytes(v)}/s, ${bytes(b.read)} so far`,
  ],
  [
    "Disk, written",
    (a, b, s) => (b.written == null || a.written == null ? null : (b.written - a.written) / s),
    () => 1024,
    (v, b) => `${bytes(v)}/s, ${bytes(b.written)} so far`,
  ],
];

/** Remembers what each bottle used while the page was open. */
export class History {
  #of = new Map();

  /** Adds what the bottles use now. */
  add(bottles) {
    const known = new Map();
    for (const { slug, usage } of bottles) {
      const list = this.#of.get(slug) ?? [];
      const last = list.at(-1);
      // Counters begin again with a new keeper.
      const is_new = last && usage && usage.received < last.received;
      if (usage && usage.at_ms !== last?.at_ms)
        known.set(slug, [...(is_new ? [] : list), usage].slice(-VALUES - 1));
      else if (usage) known.set(slug, list);
    }
    this.#of = known;
  }

  /** Returns what a bottle used. */
  of(slug) {
    return this.#of.get(slug) ?? [];
  }
}

/** Makes the panel of resources. */
export function resources(panel, history) {
  const empty = h("p", { class: "quiet" }, "It does not run.");
  const gauges = GAUGES.map(([name]) => {
    const [now, plot] = [h("p", { class: "now" }), h("div")];
    return {
      now,
      plot,
      card: h("section", { class: "card gauge", "aria-label": name }, h("h3", {}, name), now, plot),
    };
  });
  const pair = h("div", { class: "pair" }, ...gauges.map((gauge) => gauge.card));
  panel.append(empty, pair);
  return async (slug) => {
    const list = history.of(slug);
    const last = list.at(-1);
    empty.hidden = Boolean(last);
    pair.hidden = !last;
    if (!last) return;
    GAUGES.forEach(([name, value, top, words], at) => {
      const values = list
        .slice(1)
        .map((now, index) => value(list[index], now, Math.max(0.1, (now.at_ms - list[index].at_ms) / 1000)));
      const known = values.filter((one) => one != null).map((one) => Math.max(0, one));
      const newest = known.at(-1);
      const text =
        newest == null ? (list.length < 2 ? "measuring" : "this system does not say") : words(newest, last);
      say(gauges[at].now, text);
      gauges[at].plot.replaceChildren(line(known, top(last), `${name}: ${text}`));
    });
  };
}

/** Makes the panel of verification. */
export function verify(panel) {
  const begin = h("button", { class: "yes", type: "button" }, "Verify now");
  const state = h("p", { class: "quiet", role: "status" });
  const verdict = h("p", { class: "verdict" });
  const [says, leaks, strips] = [
    h("ul", { class: "sentences" }),
    h("ul", { class: "sentences trouble" }),
    h("div"),
  ];
  const result = h("div", { class: "card" }, verdict, says, leaks);
  panel.append(
    h(
      "p",
      { class: "quiet" },
      "Tries, from the host and from inside, to reach anything but the doors. It takes a while.",
    ),
    h("div", { class: "actions" }, begin, state),
    result,
    strips,
  );
  let bottle = null;
  const refresh = async (slug) => {
    bottle = slug;
    const now = await get("verified", { bottle: slug });
    if (slug !== bottle) return;
    begin.disabled = now.running;
    const when = now.at_ms
      ? `Last at ${new Date(now.at_ms).toISOString().slice(0, 19).replace("T", " ")} UTC.`
      : "Not verified since this page began.";
    say(
      state,
      now.running ? "It is under way \u2026" : now.failed ? `${when} It failed: ${now.failed}` : when,
    );
    result.hidden = !now.verdict;
    verdict.className = `verdict ${now.verdict ?? ""}`;
    const stand_in = now.stand_in ? " (of a stand-in, which proves nothing about a virtual machine)" : "";
    say(verdict, `${now.verdict ?? ""}${stand_in}`);
    const texts = (list, parent) =>
      follow(
        parent,
        list,
        (text) => text,
        (text) => [h("li", {}, text), null],
      );
    texts(now.says, says);
    texts(now.leaks, leaks);
    leaks.hidden = !now.leaks.length;
    follow(
      strips,
      now.strips,
      (strip) => JSON.stringify(strip),
      (strip) => {
        const open = strip.open.length ? strip.open.join(", ") : "none";
        const doors = strip.doors.length ? strip.doors.join(", ") : "none";
        const axis = ["1", "16384", "32768", "49152", "65535"].map((port) => h("span", {}, port));
        const text = `${strip.label}. Doors: ${doors}. Open: ${open}.`;
        return [
          h(
            "figure",
            { class: "card" },
            h("figcaption", { class: "quiet" }, text),
            h("div", { class: "strip" }, ports(strip)),
            h("div", { class: "axis", "aria-hidden": "true" }, ...axis),
          ),
          null,
        ];
      },
    );
  };
  begin.addEventListener("click", () =>
    act(begin, async () => {
      const done = await post("verify", { bottle });
      refresh(bottle).catch((error) => announce(error.message));
      return done;
    }),
  );
  return refresh;
}
