// Talks to `bottle ui`.

const base = new URL("api/", import.meta.url);

async function ask(url, how) {
  const response = await fetch(url, {
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    ...how,
  });
  const is_json = response.headers.get("content-type") === "application/json";
  const answer = is_json ? await response.json() : { error: (await response.text()).trim() };
  if (response.ok) return answer;
  throw Object.assign(new Error([answer.error, answer.help].filter(Boolean).join(": ")), { answered: true });
}

/** Asks for something. */
export function get(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return ask(url, {});
}

/** Changes something, and returns what was done. */
export async function post(path, body) {
  const headers = { "content-type": "application/json" };
  return (await ask(new URL(path, base), { method: "POST", headers, body: JSON.stringify(body) })).done;
}
