// All cameras, each as large as the window allows; or one of them alone, with an address of its own: #name.

import { CameraView } from "./view.js";
import { find } from "./words.js";

const GAP = 8;
const LEAST = 200; // a tile is never narrower than that: rather, the page scrolls
const PHONE = [600, 480]; // in a window narrower or lower there is one column, or two, to be scrolled

const main = find("cameras");
const visible = new Set();
let byName = new Map(); // the views, in the order of the settings
let tell; // functions opened(view), when another camera is open, and sighted(), when others are in sight

export const views = () => [...byName.values()];
export const view = (name) => byName.get(name);
export const inSight = () => views().filter((view) => visible.has(view));

// The view that is alone, if one is.
export const open = () => (byName.size === 1 ? views()[0] : byName.get(nameInAddress()));

export function start(functions) {
  tell = functions;
  new ResizeObserver(layOut).observe(main);
  main.addEventListener("shape", layOut);
  main.addEventListener("click", click);
  addEventListener("popstate", show);
}

export function setNames(names) {
  if (names.join("\n") === [...byName.keys()].join("\n")) return;
  const before = byName;
  byName = new Map(names.map((name) => [name, before.get(name) ?? make(name)]));
  for (const view of before.values()) {
    if (!byName.has(view.name)) drop(view);
  }
  main.append(...views());
  show();
}

// Back to all cameras, as by the browser's own button.
export function leave() {
  if (history.state?.fromGrid) history.back();
  else {
    history.pushState(null, "", location.pathname + location.search);
    show();
  }
}

const observer = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) visible[isIntersecting ? "add" : "delete"](target);
  tell.sighted();
});

function make(name) {
  const view = new CameraView().setUp(name);
  observer.observe(view);
  return view;
}

function drop(view) {
  observer.unobserve(view);
  visible.delete(view);
  view.remove();
}

function click(event) {
  const link = event.target.closest(".open");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // those open a tab of their own
  event.preventDefault();
  history.pushState({ fromGrid: true }, "", link.hash);
  show();
}

function show() {
  const alone = open();
  for (const view of views()) {
    view.hidden = Boolean(alone) && view !== alone;
    view.classList.toggle("alone", view === alone);
  }
  tell.opened(alone);
  layOut();
}

function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // a % that means nothing
  }
}

function layOut() {
  const shown = views().filter((view) => !view.hidden);
  const ratios = shown.map(({ ratio }) => ratio);
  const plan = () => arrange(main.clientWidth, main.clientHeight, ratios);
  main.classList.remove("scrolls");
  main.classList.toggle("scrolls", plan().scrolls); // which takes some of the width
  const { columns, tile } = plan();
  main.style.gridTemplateColumns = `repeat(${columns}, auto)`;
  document.body.style.setProperty("--ratio", ratios[0]);
  for (const { style, ratio } of shown) {
    const width = fit(tile, ratio);
    style.width = `${width}px`;
    style.height = `${Math.floor(width / ratio)}px`;
  }
}

// How many columns, and the room for one picture, so that all pictures together are as large as can be.
function arrange(width, height, ratios) {
  const count = ratios.length;
  let best = { columns: 1, area: -1, scrolls: false };
  for (let columns = 1; columns <= count; columns++) {
    const tile = tileOf(width, height, columns, Math.ceil(count / columns));
    const area = ratios.reduce((sum, ratio) => sum + fit(tile, ratio) ** 2 / ratio, 0);
    if (area > best.area) best = { columns, tile, area, scrolls: false };
  }
  const narrow = width < PHONE[0] && height > width;
  const low = height < PHONE[1] && width > height;
  if (count < 2 || !(narrow || low || best.tile.width < LEAST)) return best;
  const columns = narrow ? 1 : low ? 2 : Math.max(1, Math.floor(width / LEAST / 1.2));
  return { columns, tile: tileOf(width, height, columns, 1), scrolls: true };
}

function tileOf(width, height, columns, rows) {
  return { width: (width - GAP * (columns - 1)) / columns, height: (height - GAP * (rows - 1)) / rows };
}

// The width of a picture in this room.
function fit(tile, ratio) {
  return Math.max(0, Math.floor(Math.min(tile.width, tile.height * ratio)));
}
