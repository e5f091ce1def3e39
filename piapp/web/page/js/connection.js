// The WebSocket that brings pictures and state of all cameras (see piapp/web/live.py), kept alive.
//
// The server says something each second. So silence means that the connection is dead, whatever the browser thinks, and
// it is dropped for a new one; probe.js finds out when that is worth trying.

import * as clock from "./clock.js";
import * as probe from "./probe.js";
import { time } from "./words.js";

const TICK_MS = 250;
const PING_MS = 1000;
const PATIENCE_MS = [250, 2000]; // what began in a blackout may hang
const SILENCE_MS = [2000, 16000]; // the longer where one picture takes so long
const SHORT_LIFE_MS = 10000;
const NOTICE_MS = 1000; // connecting is not worth a word for so long
const REFUSED_MS = 5000;
const TRIES = 3; // that fail though piapp answers: there is no way for WebSockets
const HOPELESS_MS = 30000;
const HEAD = 16; // bytes before a picture
export const LOST = "No connection to piapp: trying again";

const client = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
let tell; // functions for what comes: see main.js
let socket = null;
let greeted = false; // by the server, on this socket
let began = Infinity; // this socket, or the search for one; Infinity: closed, nobody looks
let heard = 0;
let pinged = 0;
let ticked = time();
let silenceMs = SILENCE_MS[0];
let patience = 4 * PATIENCE_MS[1]; // the page has just come
let failures = 0; // one after the other
let isHopeless = false; // as TRIES says
let isLost = false; // and the page knows
let retry = 0; // a timer
let wanted = [];

export function open(functions) {
  tell = functions;
  setInterval(tick, TICK_MS);
  connect();
}

// Somebody looks again, or the network is back.
export function resume() {
  if (socket && time() - heard < SILENCE_MS[0]) return;
  drop();
  seek(0);
}

export function close() {
  drop();
  probe.stop();
  clearTimeout(retry);
  began = Infinity;
}

// Pictures of these cameras, from now on.
export function watch(names) {
  if (names.join("\n") === wanted.join("\n")) return;
  wanted = names;
  if (isOpen()) sendWanted();
}

function connect() {
  clearTimeout(retry);
  const url = new URL(`api/live?client=${client}`, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = (socket = new WebSocket(url.href));
  socket.binaryType = "arraybuffer";
  socket.onopen = opened;
  socket.onmessage = ({ data }) => take(mine, data);
  socket.onclose = failed;
  began = heard = time();
}

function opened() {
  heard = time();
  clock.restart();
  ping(); // first: the answer to a later one would have to wait behind pictures
  sendWanted();
}

const isOpen = () => socket?.readyState === WebSocket.OPEN;

function sendWanted() {
  socket.send(JSON.stringify({ type: "watch", cameras: wanted }));
}

function ping() {
  pinged = time();
  socket.send(JSON.stringify({ type: "ping", echo: pinged }));
}

function tick() {
  const now = time();
  // A late tick: the computer slept. What the server has said is still to be read.
  if (now - ticked > 4 * TICK_MS) heard = Math.max(heard, now - SILENCE_MS[0] / 2);
  ticked = now;
  if (!greeted && !isLost && !isHopeless && now - began > NOTICE_MS) sayLost(LOST);
  if (!socket) return;
  if (!isOpen()) connecting(now - began);
  else if (now - heard > silenceMs) silent(now);
  else if (now - pinged >= PING_MS || now - began < SHORT_LIFE_MS) ping(); // often at first
}

function connecting(lasted) {
  if (lasted < patience) return;
  if (patience >= PATIENCE_MS[1]) return failed();
  patience *= 2;
  drop();
  connect();
}

function silent(now) {
  // soon after the greeting: a slow link, perhaps
  const slow = greeted && now - began < SHORT_LIFE_MS;
  silenceMs = slow ? Math.min(silenceMs * 2, SILENCE_MS[1]) : SILENCE_MS[0];
  failed();
}

function failed() {
  failures = greeted ? 0 : failures + 1;
  drop();
  if (isHopeless || failures >= TRIES) {
    if (!isHopeless) tell.hopeless();
    isHopeless = true;
    retry = setTimeout(connect, HOPELESS_MS);
  } else {
    sayLost(LOST);
    seek(failures ? PING_MS / 2 : 0);
  }
}

function seek(delayMs) {
  clearTimeout(retry);
  patience = PATIENCE_MS[0];
  began = time();
  probe.start(connect, delayMs);
}

// Without waiting for the other side, which may be gone.
function drop() {
  greeted = false;
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  socket = null;
}

function sayLost(words) {
  isLost = true;
  tell.lost(words);
}

function take(from, data) {
  heard = time();
  if (typeof data !== "string") return takePicture(from, data);
  const message = JSON.parse(data);
  if (message.type === "pong") clock.add(message.echo, heard, message.now_ms);
  else if (message.type === "refused") refused(message.why);
  else {
    if (message.type === "hello") welcome();
    tell[message.type]?.(message);
  }
}

function welcome() {
  greeted = true;
  isLost = isHopeless = false;
  failures = 0;
}

function refused(why) {
  drop();
  sayLost(why);
  retry = setTimeout(connect, REFUSED_MS);
}

function takePicture(from, data) {
  const head = new DataView(data, 0, HEAD);
  tell.picture({
    camera: head.getUint16(0),
    number: head.getUint32(4),
    taken: clock.toLocal(head.getFloat64(8)),
    jpeg: new Blob([new Uint8Array(data, HEAD)], { type: "image/jpeg" }),
    // it is on the screen, or never will be: the server waits for that
    done: () => from.readyState === WebSocket.OPEN && from.send(new Uint8Array(data, 0, 8)),
  });
}
