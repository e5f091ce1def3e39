// <camera-view>: one camera's picture, how old it is, and when there is none, why.
//
// data-state is the camera's own state (off, idle, starting, running, failed), or "lost" without a connection, or
// "waiting" when it runs but no picture comes.

import { change } from "./api.js";
import { Meter } from "./meter.js";
import { age, find, setText, short, span, time, timeAgo } from "./words.js";

const STALE_MS = 2000;
const GRACE_MS = 500; // for the first picture of a camera that comes into sight
const CALM_S = 3; // starting is worth one word only for so long
const LATE_MS = [500, 2000];

export class CameraView extends HTMLElement {
  camera = null; // as in the newest state message
  wanted = null; // what the user has switched it to, until piapp has answered
  ratio = 16 / 9;
  #lost = ""; // why there is no connection
  #image = null; // instead of the canvas
  #instead = ""; // words instead of either
  #row = {}; // of picture numbers: another one for each connection
  #number = 0;
  #taken = null; // when the picture was taken; null: not known
  #drawn = 0; // when; 0: there is no picture on the canvas
  #watched = 0; // since when its pictures are asked for; 0: they are not
  #hasFailed = false;
  #meter = new Meter();

  setUp(name) {
    this.name = this.dataset.name = name;
    this.append(find("view").content.cloneNode(true));
    this.canvas = this.part("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.link = this.part(".open");
    Object.assign(this.link, { href: `#${encodeURIComponent(name)}`, ariaLabel: `Open ${name}` });
    setText(this.part(".name"), name);
    this.part(".switch").onclick = () => this.toggle();
    this.part(".leave").onclick = () => document.exitFullscreen();
    this.#update();
    return this;
  }

  part(selector) {
    return this.querySelector(selector);
  }

  // A new connection: numbers begin anew.
  restart() {
    this.#row = {};
    this.#number = 0;
    this.#meter.restart();
  }

  lose(words) {
    this.#lost = words;
    this.#update();
  }

  show(camera) {
    this.camera = camera;
    this.#lost = "";
    if (camera.state === "failed") this.#hasFailed = true;
    if (camera.state === "running") this.#hasFailed = false;
    else this.#meter.restart();
    if (!camera.on) this.#blank();
    if (camera.width) this.#shape(camera.width / camera.height);
    this.#update();
  }

  // Whether pictures of it are asked for.
  watch(watched) {
    if (watched === this.#watched > 0) return;
    this.#watched = watched ? time() : 0;
    this.#meter.restart();
  }

  // An <img> with the stream; or words; or neither of them, for pictures by take().
  carry(image, words = "") {
    if (image && image !== this.#image) this.prepend(image);
    this.#image = image;
    this.#instead = words;
    this.canvas.hidden = image !== null;
    this.#update();
  }

  async take({ number, taken, jpeg, done }) {
    const row = this.#row;
    try {
      const bitmap = await createImageBitmap(jpeg);
      if (row === this.#row && number > this.#number && this.camera.on) this.#draw(bitmap, number, taken);
      bitmap.close();
    } catch {
      this.dataset.broken = 1 + Number(this.dataset.broken ?? 0); // it could not be read; the next one may
    }
    done();
  }

  tick() {
    this.#update();
    this.#showAge(this.#meter.read(time()));
  }

  async toggle() {
    if (this.wanted !== null || !this.camera) return;
    this.wanted = !this.camera.on;
    this.#update();
    try {
      this.show(await change(this.name, { on: this.wanted }));
    } catch (error) {
      this.#send("trouble", error.message);
    }
    this.wanted = null;
    this.#update();
  }

  #send(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, detail }));
  }

  #draw(bitmap, number, taken) {
    const { canvas } = this;
    const { width, height } = bitmap;
    if (canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      this.#shape(width / height);
    }
    this.context.drawImage(bitmap, 0, 0);
    canvas.dataset.number = this.#number = number;
    this.#taken = taken;
    this.#drawn = time();
    this.#meter.drawn(this.#drawn, taken, number);
    if (this.state !== "running") this.#update();
  }

  // Switched off is switched off: nothing is left to be seen.
  #blank() {
    if (this.#drawn) this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.#drawn = 0;
  }

  #shape(ratio) {
    if (ratio === this.ratio) return;
    this.ratio = ratio;
    this.#send("shape");
  }

  // The state, and what is to be said of it.
  #judge() {
    const { camera } = this;
    if (this.#lost) return ["lost", this.#lost];
    if (!camera) return ["waiting", "Starting…"];
    if (!camera.on) return ["off", `Switched off since ${timeAgo(camera.state === "off" ? camera.since_s : 0)}`];
    if (camera.state === "failed") return ["failed", camera.message];
    if (this.#instead) return ["waiting", this.#instead];
    if (camera.state !== "running") {
      const calm = camera.since_s < CALM_S && !this.#hasFailed;
      return [camera.state, (!calm && camera.message) || "Starting…"];
    }
    if (this.#image || !this.#isStale()) return ["running", ""];
    return ["waiting", this.#drawn ? "Waiting for a new picture…" : "Starting…"];
  }

  #isStale() {
    if (!this.#drawn) return true;
    if (!this.#watched) return this.state !== "running"; // as it was when it went out of sight
    return time() - Math.max(this.#drawn, this.#watched + GRACE_MS - STALE_MS) > STALE_MS;
  }

  #update() {
    const [state, words] = this.#judge();
    const oldMs = this.#drawn && this.#taken !== null && state !== "running" ? time() - this.#taken : 0;
    this.classList.toggle("pictured", this.#drawn > 0);
    setText(this.part(".words"), words);
    setText(this.part(".old"), oldMs < 1000 ? "" : `This picture is ${span(oldMs / 1000)} old`);
    showSwitch(this.part(".switch"), this);
    if (state !== this.state) {
      this.state = this.dataset.state = state;
      this.canvas.ariaLabel = `${this.name}: ${words || this.camera?.message || "live"}`;
      this.#send("state", words);
    }
    this.#send("shown");
  }

  #showAge({ ageMs, fps, skipped }) {
    const badge = this.part(".badge");
    badge.hidden = this.state !== "running" || (ageMs === null && !this.#image);
    badge.dataset.ageMs = ageMs ?? "";
    badge.classList.toggle("late", ageMs > LATE_MS[0]);
    badge.classList.toggle("very", ageMs > LATE_MS[1]);
    setText(badge.firstChild, this.#image ? "age not known" : age(ageMs));
    setText(badge.lastChild, (fps ? ` · ${short(fps)} fps` : "") + (skipped ? ` · ${skipped} skipped` : ""));
  }
}

// A switch of this camera, wherever it is.
export function showSwitch(button, { camera, wanted, name }) {
  const on = wanted ?? camera?.on ?? true;
  const pending = wanted !== null;
  let words = pending ? `Switching ${on ? "on" : "off"}…` : `Switch ${on ? "off" : "on"}`;
  button.title = words;
  button.classList.toggle("pending", pending);
  button.ariaDisabled = pending;
  if (button.role === "switch") {
    button.ariaChecked = on;
    if (!pending) words = on ? "On" : "Off";
  } else button.ariaLabel = `${words} ${name}`;
  setText(button.querySelector("span"), words);
}

customElements.define("camera-view", CameraView);
