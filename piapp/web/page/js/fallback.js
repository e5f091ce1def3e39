// The pictures of one camera in an <img>, for networks where something lets no WebSocket through.
//
// An <img> tells nothing when its stream dies: no error, no end. So a request each second is the watchdog: when it
// fails, the connection is gone, and when it succeeds again the stream is opened anew. Only one stream, since browsers
// have but six connections to a server.

import { address, get } from "./api.js";
import { open, views } from "./grid.js";
import { element } from "./words.js";

const EVERY_MS = 1000;

const image = element("img");
let tell = null; // functions state(cameras) and lost(); null: not needed
let shown = null; // whose stream it is
let isVisible = true;
let isLost = false;
let timer = 0;

export function start(functions) {
  tell = functions;
  ask();
}

export function stop() {
  if (!tell) return;
  tell = null;
  clearTimeout(timer);
  end();
  for (const view of views()) view.carry(null);
}

// Whether anybody can see the page.
export function setVisible(visible) {
  isVisible = visible;
  place();
}

// Give the picture to the open camera, or else to the first one.
export function place() {
  const chosen = isVisible ? (open() ?? views()[0] ?? null) : null;
  if (!tell || chosen === shown) return;
  end();
  shown = chosen;
  for (const view of views()) view.carry(view === chosen ? image : null, view === chosen ? "" : "Click to watch");
  if (!chosen) return;
  image.alt = `Live picture of ${chosen.name}`;
  // another address each time: browsers would show a dead stream out of their memory
  image.src = `${address(chosen.name)}/stream?opened=${Date.now()}`;
}

function end() {
  image.removeAttribute("src");
  image.remove();
  shown = null;
}

async function ask() {
  try {
    const { cameras } = await get("cameras");
    if (!tell) return;
    if (isLost) end();
    isLost = false;
    tell.state(cameras);
    place();
  } catch {
    if (!tell) return;
    isLost = true;
    tell.lost();
  }
  timer = setTimeout(ask, EVERY_MS);
}
