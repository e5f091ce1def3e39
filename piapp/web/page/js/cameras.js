// The cameras: each with its stream in an <img>, its state below, asked for once a second, and its switch.
//
// An <img> tells nothing when its stream dies: no error event, no end. So the state request is the watchdog: when it
// has failed, the connection is gone, and as soon as it succeeds again every stream is opened anew. While nobody can
// see the page the streams are closed: browsers would go on loading them, or let them die on a phone.

const INTERVAL_MS = 1000;
const LIMIT_MS = 4000;

const grid = document.getElementById("cameras");
const message = document.getElementById("message");
const figures = new Map(); // camera name → <figure>
let lost = false;

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function address(name) {
  return `cameras/${encodeURIComponent(name)}`;
}

function openStream(name) {
  const image = figures.get(name).querySelector("img");
  // the time keeps browsers from showing a dead stream of the same address out of their memory
  if (document.hidden) image.removeAttribute("src");
  else image.src = `${address(name)}/stream?opened=${Date.now()}`;
}

function openStreams() {
  for (const name of figures.keys()) openStream(name);
}

async function change(button, name, changes) {
  button.disabled = true; // until follow() has seen the change
  const headers = { "Content-Type": "application/json" };
  try {
    await fetch(`api/${address(name)}`, { method: "PATCH", headers, body: JSON.stringify(changes) });
  } catch {
    // no connection: follow() says so
  }
}

function add(name) {
  const figure = element("figure");
  const image = element("img");
  image.alt = `Live picture of ${name}`;
  const caption = element("figcaption");
  const words = element("p");
  words.append(element("span", "state"), " · ", element("span", "facts"));
  const button = element("button");
  button.addEventListener("click", () => change(button, name, { on: figure.classList.contains("off") }));
  caption.append(element("b", "", name), button, words);
  figure.append(image, caption);
  figures.set(name, figure);
  grid.append(figure);
  openStream(name);
}

function show(camera) {
  const figure = figures.get(camera.name);
  const find = (selector) => figure.querySelector(selector);
  figure.className = camera.state;
  const { width, height } = camera;
  // holds the place while the stream is opened again
  if (width) find("img").style.aspectRatio = `${width} / ${height}`;
  find(".state").textContent = camera.message || camera.state;
  find("button").textContent = camera.on ? "Switch off" : "Switch on";
  find("button").disabled = false;
  const count = camera.viewers.length;
  const viewers = `${count}\u00a0${count === 1 ? "viewer" : "viewers"}`;
  const picture = width ? [`${width} × ${height}`, `${camera.fps.toFixed(1)}\u00a0fps`] : [];
  find(".facts").textContent = [...picture, viewers].join(" · ");
}

function showAll(cameras) {
  const names = cameras.map((camera) => camera.name);
  for (const [name, figure] of figures) {
    if (!names.includes(name)) {
      figure.remove();
      figures.delete(name);
    }
  }
  names.filter((name) => !figures.has(name)).forEach(add);
  cameras.forEach(show);
  const columns = Math.ceil(Math.sqrt(names.length));
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--rows", Math.ceil(names.length / columns));
}

function showLost() {
  message.textContent = "No connection to piapp: trying again. These pictures are old.";
  for (const figure of figures.values()) {
    figure.className = "lost";
    figure.querySelector(".state").textContent = "no connection";
    figure.querySelector("button").disabled = true;
  }
}

async function ask() {
  const response = await fetch("api/cameras", { signal: AbortSignal.timeout(LIMIT_MS) });
  if (!response.ok) throw new Error((await response.json()).error);
  return (await response.json()).cameras;
}

async function follow() {
  try {
    const cameras = await ask();
    if (lost) openStreams();
    lost = false;
    message.textContent = "";
    showAll(cameras);
  } catch {
    lost = true;
    showLost();
  }
  setTimeout(follow, INTERVAL_MS);
}

document.addEventListener("visibilitychange", openStreams);
follow();
