// Draws small plots as SVG.

const SPACE = "http://www.w3.org/2000/svg";

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Makes an empty drawing that fills its place, and says in words what it shows. */
function picture(width, height, label, attributes = {}) {
  return s("svg", {
    ...attributes,
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": label,
  });
}

/** Makes an empty drawing with a line at its foot. */
function overTime(width, height, label) {
  const plot = picture(width, height, label, { class: "plot" });
  plot.append(s("line", { class: "base", x1: 0, x2: width, y1: height, y2: height }));
  return plot;
}

/** Draws refused and allowed requests in each minute, one on top of the other. */
export function minutes(list) {
  const [width, height] = [list.length * 10, 72];
  const most = Math.max(1, ...list.map((minute) => minute.refused + minute.allowed));
  const total = (name) => list.reduce((sum, minute) => sum + minute[name], 0);
  const label = `In the last ${list.length} minutes: ${total("refused")} refused, ${total("allowed")} allowed`;
  const plot = overTime(width, height, label);
  list.forEach((minute, at) => {
    let y = height;
    for (const name of ["refused", "allowed"]) {
      if (!minute[name]) continue;
      const tall = Math.max(2, (minute[name] / most) * (height - 4));
      y -= tall;
      plot.append(
        s("rect", {
          class: `bar ${name}`,
          x: at * 10 + 1,
          y: y.toFixed(1),
          width: 8,
          height: tall.toFixed(1),
        }),
      );
    }
  });
  return plot;
}

/** Draws values over time. `top` is the least upper end of the scale. */
export function line(values, top, label) {
  const [width, height] = [120, 72];
  const most = Math.max(top, ...values, 1e-9);
  const from = width - values.length;
  const at = values.map(
    (value, index) => `${from + index + 0.5},${(height - (value / most) * (height - 4)).toFixed(1)}`,
  );
  const plot = overTime(width, height, label);
  if (at.length > 1) {
    plot.append(
      s("polygon", {
        class: "area",
        points: `${from + 0.5},${height} ${at.join(" ")} ${width - 0.5},${height}`,
      }),
    );
    plot.append(s("polyline", { class: "line", points: at.join(" ") }));
  }
  return plot;
}

/** Draws all ports in a line, with those that answered. */
export function ports(strip) {
  const width = 1000;
  const listed = (list) => (list.length ? list.join(", ") : "none");
  const label = `${strip.label}. Doors that answered: ${listed(strip.doors)}. Other ports that answered: ${listed(strip.open)}.`;
  const plot = picture(width, 30, label);
  for (const kind of ["door", "open"]) {
    for (const port of kind === "door" ? strip.doors : strip.open) {
      const x = ((port / 65536) * width - 2).toFixed(2);
      plot.append(s("rect", { class: kind, x, y: 0, width: 4, height: 30 }, s("title", {}, String(port))));
    }
  }
  return plot;
}
