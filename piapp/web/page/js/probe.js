// Finds out as soon as possible that piapp can be reached again.
//
// What was sent into a blackout the kernel repeats after 1, 2, 4, 8… seconds: the older, the more rarely. So there are
// requests of different ages; not more, since browsers open six connections to a server, and Chromium goes on with those
// that nobody wants any more. Not WebSockets: after some that failed browsers hold back the next.

import { time } from "./words.js";

const EVERY_MS = 500; // where they fail at once
const APART_MS = 2000; // where nothing is heard
const LIMIT_MS = 12000;
const AT_ONCE = 5; // which leaves one to the WebSocket
const PATIENT_AFTER_MS = 60000; // for phones and their batteries

const underWay = new Set();
let timer = 0;
let since = 0;
let asked = 0;

// `found` is called once.
export function start(found, delayMs = 0) {
  stop();
  since = time();
  timer = setTimeout(beat, delayMs, found);
}

export function stop() {
  clearTimeout(timer);
  for (const request of underWay) request.abort();
  underWay.clear();
}

function beat(found) {
  const patient = time() - since > PATIENT_AFTER_MS;
  timer = setTimeout(beat, patient ? APART_MS * (0.75 + Math.random() / 2) : EVERY_MS, found);
  if (!underWay.size || (underWay.size < AT_ONCE && time() - asked >= APART_MS)) ask(found);
}

async function ask(found) {
  const request = new AbortController();
  const limit = setTimeout(() => request.abort(), LIMIT_MS);
  underWay.add(request);
  asked = time();
  try {
    const { status } = await fetch("api/cameras", { method: "HEAD", cache: "no-store", signal: request.signal });
    if (status < 500 && underWay.has(request)) {
      stop();
      found();
    }
  } catch {
    // not yet
  }
  clearTimeout(limit);
  underWay.delete(request);
}
