// The page: which bottle and which tab are looked at, and when to ask again.

import { get } from "./api.js";
import { announce, say, span, the } from "./dom.js";
import { overview } from "./overview.js";
import { log } from "./log.js";
import { pushes } from "./pushes.js";
import { changes } from "./changes.js";
import { History, resources, verify } from "./machine.js";

/** How often to ask, in milliseconds. */
const OFTEN = 1000;

const history = new History();
const refresh_log = log(the("panel-log"), the("panel-refused"));
const refreshes = {
  log: refresh_log,
  refused: refresh_log,
  pushes: pushes(the("panel-pushes")),
  changes: changes(the("panel-changes")),
  resources: resources(the("panel-resources"), history),
  verify: verify(the("panel-verify")),
};
const names = Object.keys(refreshes);
let [slug, tab] = location.hash.slice(1).split("/");
if (!names.includes(tab)) tab = "log";
let seen = { bottles: [], inbox: [] };
let timer;

/** Shows the chosen bottle's head and its tab. */
function frame() {
  const bottle = seen.bottles.find((one) => one.slug === slug);
  say(the("chosen-title"), bottle?.slug ?? "No bottle");
  the("tabs").hidden = !bottle;
  const facts = bottle
    ? [
        bottle.state,
        bottle.uptime_s == null ? null : `up ${span(bottle.uptime_s)}`,
        bottle.guest === false ? "the guest is not connected" : null,
        Object.entries(bottle.doors)
          .map(([name, port]) => `${name}:${port}`)
          .join(" "),
        bottle.project,
      ]
    : [];
  say(the("chosen-facts"), facts.filter(Boolean).join(" \u00b7 "));
  const trouble = [bottle?.why, bottle?.log_failing ? "its log cannot be written: is the disk full?" : null]
    .filter(Boolean)
    .join("; ");
  say(the("chosen-trouble"), trouble);
  the("chosen-trouble").hidden = !trouble;
  for (const name of names) {
    const button = the(`tab-${name}`);
    const is_it = name === tab;
    button.setAttribute("aria-selected", String(is_it));
    button.tabIndex = is_it ? 0 : -1;
    the(`panel-${name}`).hidden = !bottle || !is_it;
  }
  let count = the("tab-pushes").querySelector(".count");
  if (!count) {
    count = document.createElement("span");
    count.className = "count";
    the("tab-pushes").append(count);
  }
  count.hidden = !bottle?.pushes;
  say(count, String(bottle?.pushes || ""));
  if (slug) window.history.replaceState(null, "", `#${slug}/${tab}`);
}

function connected(word, name) {
  say(the("connection"), word);
  the("connection").className = name;
}

/** Asks for everything that is looked at, once. */
async function look() {
  clearTimeout(timer);
  try {
    seen = await get("overview");
    if (!seen.bottles.some((one) => one.slug === slug))
      slug = (seen.bottles.find((one) => one.uptime_s != null) ?? seen.bottles[0])?.slug;
    history.add(seen.bottles);
    overview(seen, slug, choose, look);
    frame();
    if (slug) await refreshes[tab](slug);
    connected("live", "live");
  } catch (error) {
    if (error.answered) announce(error.message);
    else connected("not connected: run `bottle ui` again", "lost");
  }
  clearTimeout(timer);
  // A page that nobody sees asks for nothing, so that the server can end.
  if (!document.hidden) timer = setTimeout(look, OFTEN);
}

function choose(chosen) {
  slug = chosen;
  frame();
  look();
}

function open(name) {
  tab = name;
  frame();
  look();
}

for (const name of names) {
  const button = the(`tab-${name}`);
  button.addEventListener("click", () => open(name));
  button.addEventListener("keydown", (event) => {
    const at = names.indexOf(name);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = names[(to + names.length) % names.length];
    the(`tab-${next}`).focus();
    open(next);
  });
}
document.addEventListener("visibilitychange", () => document.hidden || look());
look();
