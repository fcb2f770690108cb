// Drives a real Chromium over its debugging pipe: `node drive.mjs LINK AXE FOLDER` opens a link of `bottle ui`,
// looks at each tab in each size and scheme, checks it with axe-core, and answers the first request by keyboard
// alone. It prints what it found as JSON, and leaves pictures in FOLDER.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";

const [link, axe, folder] = process.argv.slice(2);
const TABS = ["log", "refused", "pushes", "changes", "resources", "verify"];
const VIEWS = [
  { width: 1600, height: 1100, scheme: "light" },
  { width: 1600, height: 1100, scheme: "dark" },
  { width: 390, height: 1400, scheme: "light" },
  { width: 390, height: 1400, scheme: "dark" },
];

const profile = mkdtempSync(join(tmpdir(), "bottle-browser-"));
const words = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
];
words.push(
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-pipe",
  `--user-data-dir=${profile}`,
);
const chromium = spawn("chromium", words, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const ended = new Promise((done) => chromium.on("exit", done));
const [write, read] = [chromium.stdio[3], chromium.stdio[4]];
const waiting = new Map();
const events = [];
let [number, rest, session] = [0, "", undefined];

read.on("data", (chunk) => {
  rest += chunk;
  for (let end = rest.indexOf("\0"); end >= 0; end = rest.indexOf("\0")) {
    const message = JSON.parse(rest.slice(0, end));
    rest = rest.slice(end + 1);
    if (!message.id) events.push(message);
    else if (message.error) waiting.get(message.id)?.[1](new Error(JSON.stringify(message.error)));
    else waiting.get(message.id)?.[0](message.result);
  }
});

function call(method, params = {}) {
  const id = ++number;
  write.write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
  return new Promise((done, failed) => waiting.set(id, [done, failed]));
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await call("Runtime.evaluate", {
    expression,
    awaitPromise: true,
    returnByValue: true,
  });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, expression) {
  const end = Date.now() + 60_000;
  while (!(await evaluate(`Boolean(${expression})`))) {
    if (Date.now() > end) throw new Error(`${what}: ${await evaluate("document.body.innerText")}`);
    await sleep(100);
  }
}

async function press(key) {
  const code = key.length === 1 ? { text: key } : {};
  await call("Input.dispatchKeyEvent", {
    type: "keyDown",
    key,
    ...code,
    windowsVirtualKeyCode: key === "Tab" ? 9 : 0,
  });
  await call("Input.dispatchKeyEvent", { type: "keyUp", key });
}

async function checked() {
  const run =
    "axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes }) => ({ passed: passes.length, " +
    "violations: violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.slice(0, 3).map((node) => node.target.join(' ')) })) }))";
  return evaluate(run);
}

const found = { views: [], keys: {} };
try {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  session = sessionId;
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);
  await call("Page.navigate", { url: link });
  await until("the page", "document.querySelector('#connection.live')");
  await until("a request", "document.querySelector('.request')");
  await evaluate(readFileSync(axe, "utf8"));
  // The check itself can fail: an image without a text is one of its findings.
  await evaluate(
    "document.body.append(Object.assign(document.createElement('img'), { id: 'bad', src: 'data:,' }))",
  );
  found.witness = (await checked()).violations.filter(({ id }) => id === "image-alt").length;
  await evaluate("document.getElementById('bad').remove()");
  for (const { width, height, scheme } of VIEWS) {
    await call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    for (const tab of TABS) {
      await evaluate(`document.getElementById('tab-${tab}').click()`);
      await sleep(400);
      if (tab === "pushes") {
        await until("a push", "document.querySelector('#panel-pushes section button')");
        await evaluate(
          "document.querySelector('#panel-pushes .diff') || document.querySelector('#panel-pushes section button').click()",
        );
        await until("a difference", "document.querySelector('#panel-pushes .diff')");
        found.pushes = await evaluate("document.getElementById('panel-pushes').innerText");
      }
      if (tab === "changes") await until("changes", "document.querySelector('#panel-changes .diff')");
      if (tab === "verify") {
        await evaluate(
          "document.querySelector('#panel-verify .verdict').textContent || document.querySelector('#panel-verify button').click()",
        );
        await until("a verdict", "document.querySelector('#panel-verify .verdict').textContent");
      }
      await evaluate("document.getElementById('said').classList.remove('shown')");
      const overflow = await evaluate("document.documentElement.scrollWidth > innerWidth");
      found.views.push({ width, scheme, tab, overflow, ...(await checked()) });
      const { data } = await call("Page.captureScreenshot", { format: "png" });
      writeFileSync(join(folder, `${tab}-${width}-${scheme}.png`), Buffer.from(data, "base64"));
    }
  }
  // By keyboard alone: from the top of the page to the first request, and its answer.
  await evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)");
  const before = await evaluate("document.querySelectorAll('.request').length");
  let steps = 0;
  while (steps < 20 && !(await evaluate("document.activeElement.classList.contains('request')"))) {
    await press("Tab");
    steps += 1;
  }
  found.keys.outline = await evaluate("getComputedStyle(document.activeElement).outlineStyle");
  await press("a");
  await until("the answer", `document.querySelectorAll('.request').length < ${before}`);
  found.keys.steps = steps;
  found.keys.focus = await evaluate("document.activeElement !== document.body");
  found.keys.said = await evaluate("document.getElementById('said').textContent");
  found.hacked = await evaluate(
    "Boolean(window.hacked) || document.querySelectorAll('img, script:not([src]), iframe').length > 0",
  );
  found.text = await evaluate("document.body.innerText");
  const is_trouble = ({ method, params }) =>
    method === "Runtime.exceptionThrown" || (method === "Log.entryAdded" && params.entry.level === "error");
  found.trouble = events
    .filter(is_trouble)
    .map(({ params }) => params.entry?.text ?? params.exceptionDetails?.text);
} finally {
  session = undefined;
  call("Browser.close").catch(() => {});
  await Promise.race([ended, sleep(10_000)]);
  chromium.kill("SIGKILL");
  await ended;
  // Its helpers may still write for a moment.
  rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
}
console.log(JSON.stringify(found));
