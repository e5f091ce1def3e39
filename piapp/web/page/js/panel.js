// The place beside or below the open camera for one of its panels.

import { showControls } from "./controls.js";
import { showDetails } from "./details.js";
import { showLinks } from "./links.js";
import { find, setText } from "./words.js";

// Each draws into a place, for a view, and may answer functions stop() and declare(controls).
const KINDS = { controls: showControls, details: showDetails, links: showLinks };

const box = find("panel");
const place = box.querySelector("div");
const buttons = [...document.querySelectorAll("button[data-panel]")];
const declared = new Map(); // camera name → its controls
let view = null;
let kind = ""; // "": closed
let shown; // what the panel has answered
let say;

export function start(functions) {
  say = functions.say;
  for (const button of buttons) {
    button.onclick = () => choose(kind === button.dataset.panel ? "" : button.dataset.panel);
  }
  box.querySelector("button").onclick = close;
}

export function show(opened) {
  if (opened === view) return;
  view = opened;
  draw();
}

export function declare(name, controls) {
  declared.set(name, controls);
  if (view?.name === name) shown?.declare?.(controls);
}

// Whether there was something to close.
export function close() {
  const button = view && buttons.find(({ dataset }) => dataset.panel === kind);
  if (!button) return false;
  choose("");
  button.focus();
  return true;
}

function choose(chosen) {
  kind = chosen;
  draw();
}

function draw() {
  const isOpen = Boolean(view && kind);
  shown?.stop?.();
  shown = null;
  box.hidden = !isOpen;
  document.body.classList.toggle("panelled", isOpen);
  for (const button of buttons) button.ariaExpanded = isOpen && button.dataset.panel === kind;
  if (!isOpen) return;
  setText(find("panel-title"), kind[0].toUpperCase() + kind.slice(1));
  place.replaceChildren();
  box.scrollTop = 0;
  shown = KINDS[kind](place, view, say);
  shown?.declare?.(declared.get(view.name) ?? []);
}
