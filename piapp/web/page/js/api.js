// Requests to piapp. What goes wrong is an Error whose message is a sentence for people.

const LIMIT_MS = 10000;

export const address = (name) => `cameras/${encodeURIComponent(name)}`;

// `take` reads the answer, a Response.
async function ask(path, options, take) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LIMIT_MS);
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options, signal: stop.signal });
    if (answer.ok) return await take(answer);
  } catch {
    throw new Error("No answer from piapp. Try again.");
  } finally {
    clearTimeout(timer);
  }
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `piapp answered ${answer.status}.`);
}

export const get = (path) => ask(`api/${path}`, {}, (answer) => answer.json());

// The camera as it is after the changes.
export function change(name, changes) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "PATCH", headers, body: JSON.stringify(changes) };
  return ask(`api/${address(name)}`, options, (answer) => answer.json());
}

// A picture and when it was taken.
export function snapshot(name) {
  return ask(`${address(name)}/snapshot.jpg`, {}, async (answer) => ({
    jpeg: await answer.blob(),
    taken: new Date(answer.headers.get("X-Timestamp") * 1000 || Date.now()),
  }));
}
