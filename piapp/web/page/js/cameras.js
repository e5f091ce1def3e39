// The cameras: each with its stream in an <img> and its state below, asked for once a second.
//
// An <img> tells nothing when its stream dies: no error event, no end. So the state request is the watchdog: when it
// has failed, the connection is gone, and as soon as it succeeds again every stream is opened anew.

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

function streamUrl(name) {
  // the time keeps browsers from showing a dead stream of the same address out of their memory
  return `cameras/${encodeURIComponent(name)}/stream?opened=${Date.now()}`;
}

function makeFigure(name) {
  const figure = element("figure");
  const image = element("img");
  image.alt = `Live picture of ${name}`;
  image.width = 16;
  image.height = 9;
  image.src = streamUrl(name);
  const caption = element("figcaption");
  caption.append(element("b", "", name), element("span", "state"), element("span", "facts"));
  figure.append(image, caption);
  return figure;
}

function show(camera) {
  if (!figures.has(camera.name)) {
    const figure = makeFigure(camera.name);
    figures.set(camera.name, figure);
    grid.append(figure);
    grid.style.setProperty("--columns", Math.ceil(Math.sqrt(figures.size)));
  }
  const figure = figures.get(camera.name);
  figure.className = camera.state;
  figure.querySelector(".state").textContent = camera.message || camera.state;
  const size = camera.width ? `${camera.width} × ${camera.height}` : "";
  const fps = camera.width ? `${camera.fps.toFixed(1)} fps` : "";
  const count = camera.viewers.length;
  const viewers = `${count} ${count === 1 ? "viewer" : "viewers"}`;
  figure.querySelector(".facts").textContent = [size, fps, viewers].filter(Boolean).join(" · ");
}

function reopen() {
  for (const [name, figure] of figures) figure.querySelector("img").src = streamUrl(name);
}

async function ask() {
  const response = await fetch("api/cameras", { signal: AbortSignal.timeout(LIMIT_MS) });
  if (!response.ok) throw new Error((await response.json()).error);
  return (await response.json()).cameras;
}

async function follow() {
  try {
    const cameras = await ask();
    if (lost) reopen();
    lost = false;
    message.textContent = "";
    cameras.forEach(show);
  } catch (error) {
    lost = true;
    message.textContent = "No connection to piapp: trying again. The pictures above are old.";
    for (const figure of figures.values()) figure.className = "lost";
  }
  setTimeout(follow, INTERVAL_MS);
}

follow();
