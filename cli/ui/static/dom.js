// Makes elements. Text goes in as text, and never as markup.

/** Makes an element: `h("p", { class: "quiet" }, "text", child)`. A property may be a listener. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Returns the element with this id. */
export const the = (id) => document.getElementById(id);

/** Sets an element's text, if it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const updates = new WeakMap();

/**
 * Makes the children of an element follow a list. `make` returns an element and a function that updates it. An
 * element stays as long as its item does, so that neither the focus nor a text that is being written is lost.
 */
export function follow(parent, items, keyOf, make) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = before.get(key);
    before.delete(key);
    if (!child) {
      const [element, update] = make(item);
      child = element;
      child.dataset.key = key;
      updates.set(child, update);
    }
    updates.get(child)?.(item);
    if (child === next) next = child.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const gone of before.values()) gone.remove();
}

let hush;

/** Says something at the edge of the page, for a while. */
export function announce(text) {
  const said = the("said");
  say(said, text);
  said.classList.add("shown");
  clearTimeout(hush);
  hush = setTimeout(() => said.classList.remove("shown"), 6000);
}

/** Carries out what a person asked for, with the button off meanwhile. */
export async function act(button, work) {
  button.disabled = true;
  try {
    const done = await work();
    if (done) announce(done);
    return true;
  } catch (error) {
    announce(error.message);
    return false;
  } finally {
    button.disabled = false;
  }
}

/** Formats a point in time as a time of the day, in UTC like the log. */
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

/** Formats a length of time. */
export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** Formats a number of bytes. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count.toFixed(unit && count < 10 ? 1 : 0)} ${units[unit]}`;
}
