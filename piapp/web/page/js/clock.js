// How far the server's clock is ahead of time() here. A ping's answer tells its time at some moment between sending and
// receiving: half of the round trip is how wrong that can be, and more the longer ago it was, since clocks drift apart.

import { time } from "./words.js";

const DRIFT = 50e-6;
const KEPT = 60;

let samples = [];

// For a new connection: the server's computer may have started anew.
export function restart() {
  samples = [];
}

// All in ms: when the ping went out and its answer came, here; the time in that answer.
export function add(sent, received, told) {
  const sample = { offset: told - (sent + received) / 2, error: (received - sent) / 2, at: received };
  const known = best(received);
  // Both cannot be true: one of the clocks has stood still while its computer slept.
  if (known && Math.abs(known.offset - sample.offset) > sample.error + doubt(known, received)) samples = [];
  samples = [...samples.slice(1 - KEPT), sample];
}

// A server's time as one of ours; null while that is not known.
export function toLocal(told) {
  const known = best(time());
  return known ? told - known.offset : null;
}

const doubt = (sample, now) => sample.error + DRIFT * (now - sample.at);

const best = (now) => samples.reduce((a, b) => (a && doubt(a, now) < doubt(b, now) ? a : b), null);
