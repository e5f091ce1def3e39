// Name and switch of the open camera, snapshots, the full screen.

import { snapshot } from "./api.js";
import { showSwitch } from "./view.js";
import { element, find, setText } from "./words.js";

const bar = find("bar");
const actions = find("actions");
const power = bar.querySelector(".switch");
const shutter = actions.querySelector(".snapshot");
const full = actions.querySelector(".fullscreen");
let view;

export const back = bar.querySelector(".back");

// `leave` goes back to all cameras; `say` shows a sentence.
export function start({ leave, say }) {
  back.onclick = (event) => {
    event.preventDefault();
    leave();
  };
  power.onclick = () => view.toggle();
  shutter.onclick = () => takeSnapshot(say);
  full.hidden = !document.fullscreenEnabled;
  full.onclick = fillScreen;
  document.addEventListener("shown", ({ target }) => target === view && showSwitch(power, view));
}

// For this camera; `several`: there are others to go back to.
export function show(opened, several) {
  view = opened;
  bar.hidden = actions.hidden = !view;
  back.hidden = !several;
  if (!view) return;
  setText(bar.querySelector("h1"), view.name);
  showSwitch(power, view);
}

// The open camera, or the tile that has the keyboard; and back.
export function fillScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else (view ?? document.activeElement.closest("camera-view"))?.requestFullscreen?.().catch(() => {});
}

async function takeSnapshot(say) {
  if (shutter.ariaDisabled) return;
  const { name } = view;
  const label = shutter.querySelector("span");
  shutter.ariaDisabled = true;
  setText(label, "Taking…");
  try {
    const { jpeg, taken } = await snapshot(name);
    save(jpeg, name, taken);
  } catch (error) {
    say(error.message);
  }
  setText(label, "Snapshot");
  shutter.ariaDisabled = null;
}

// Named after the camera and the local time, without what Windows does not take in a name.
function save(jpeg, name, taken) {
  const local = new Date(taken - taken.getTimezoneOffset() * 60000).toISOString();
  const time = local.slice(0, 19).replace("T", " ").replace(/:/g, ".");
  const download = `${name.replace(/[\\/:*?"<>|\p{Cc}]/gu, "_")} ${time}.jpg`;
  const link = element("a", { href: URL.createObjectURL(jpeg), download });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // some browsers begin to read it late
}
