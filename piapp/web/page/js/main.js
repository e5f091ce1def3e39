// The page: what the connection brings is handed to whom it concerns.

import * as connection from "./connection.js";
import * as fallback from "./fallback.js";
import * as grid from "./grid.js";
import * as panel from "./panel.js";
import { followPresence } from "./presence.js";
import * as toolbar from "./toolbar.js";
import { find, setText } from "./words.js";

const TICK_MS = 250;
const NOTE_MS = 8000;
const RELOAD_MS = 60000; // at most so often

let isVisible = !document.hidden;
let byId = new Map(); // a camera's id on this connection → its view
let page = ""; // the version of its files
let noteTimer = 0;
let before; // the view that was open; undefined: nothing was

function hello(message) {
  fallback.stop();
  document.body.dataset.transport = "socket";
  for (const view of grid.views()) view.restart();
  if (page && page !== message.page) reload();
  page ||= message.page;
}

function state({ problem, cameras }) {
  setText(find("problem"), problem);
  setText(find("message"), "");
  grid.setNames(cameras.map(({ name }) => name));
  byId = new Map(cameras.map(({ id, name }) => [id, grid.view(name)]));
  for (const camera of cameras) grid.view(camera.name).show(camera);
}

function controls({ camera, controls }) {
  panel.declare(camera, controls);
}

function picture(picture) {
  const view = byId.get(picture.camera);
  if (view) view.take(picture);
  else picture.done();
}

function lost(words) {
  setText(find("message"), words);
  find("message").classList.toggle("unseen", grid.views().length > 0); // for each picture says it too
  for (const view of grid.views()) view.lose(words);
}

function hopeless() {
  document.body.dataset.transport = "image";
  fallback.start({ state: stateByRequest, lost: () => lost(connection.LOST) });
}

function stateByRequest(cameras) {
  state({ problem: find("problem").textContent, cameras });
  for (const camera of cameras) panel.declare(camera.name, camera.controls);
}

// piapp was updated under this page.
function reload() {
  const last = Number(sessionStorage.reloaded ?? 0);
  sessionStorage.reloaded = Date.now();
  setTimeout(() => location.reload(), Math.max(0, last + RELOAD_MS - Date.now()));
}

function opened(view = null) {
  const several = grid.views().length > 1;
  document.body.classList.toggle("large", Boolean(view));
  document.title = view ? `${view.name} – piapp` : "piapp";
  toolbar.show(view, several);
  panel.show(view);
  fallback.place();
  // the keyboard goes along
  if (before !== undefined && before !== view && several) (view ? toolbar.back : before.link).focus();
  before = view;
}

function sighted() {
  const watched = isVisible ? grid.inSight() : [];
  for (const view of grid.views()) view.watch(watched.includes(view));
  connection.watch(watched.map(({ name }) => name));
}

function setVisible(visible) {
  isVisible = visible;
  sighted();
  fallback.setVisible(visible);
}

function say(words) {
  setText(find("note"), words);
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => setText(find("note"), ""), NOTE_MS);
}

function pressed({ key, target, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return;
  if (key === "Escape" && !document.fullscreenElement) {
    if (!panel.close() && grid.open() && grid.views().length > 1) grid.leave();
  } else if (key === "f" && !target.matches("input, select")) toolbar.fillScreen();
}

// Said once, for those who hear the page: the words on the picture count the seconds.
function changed({ target, detail }) {
  setText(find("faults"), target.state === "failed" ? `${target.name}: ${detail}` : "");
}

document.addEventListener("keydown", pressed);
document.addEventListener("state", changed);
document.addEventListener("trouble", ({ detail }) => say(detail));
find("cameras").addEventListener("dblclick", ({ target }) => target.closest("button") ?? toolbar.fillScreen());
setInterval(() => grid.views().forEach((view) => view.tick()), TICK_MS);
toolbar.start({ leave: grid.leave, say });
panel.start({ say });
grid.start({ opened, sighted });
followPresence(setVisible, connection);
connection.open({ hello, state, controls, picture, lost, hopeless });
