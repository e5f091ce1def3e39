// The panel with all that is known of a camera and of piapp, asked for once a second while it is open.

import { address, get } from "./api.js";
import { age, element, setText, short, span, timeAgo } from "./words.js";

const EVERY_MS = 1000;

export function showDetails(place, { name }) {
  const note = element("p", { className: "hint" }, "Asking…");
  const tables = new Map(); // by title
  let timer = 0;
  let isOver = false;

  function fill(title, rows) {
    if (!tables.has(title)) {
      tables.set(title, element("table"));
      place.append(element("section", {}, element("h3", {}, title), tables.get(title)));
    }
    fillTable(tables.get(title), rows);
  }

  async function ask() {
    try {
      const [camera, system] = await Promise.all([get(address(name)), get("system")]);
      showCamera(camera, fill);
      showSystem(system, fill);
      setText(note, "");
    } catch (error) {
      setText(note, error.message);
    }
    if (!isOver) timer = setTimeout(ask, EVERY_MS);
  }

  function stop() {
    clearTimeout(timer);
    isOver = true;
  }

  place.append(note);
  ask();
  return { stop };
}

function showCamera(camera, fill) {
  fill("Picture", [
    ["Size", camera.width && `${camera.width} × ${camera.height}`],
    ["Rate", camera.fps && `${short(camera.fps)} pictures per second`],
    ["Data", camera.kbit_per_s && `${short(camera.kbit_per_s / 1000)} Mbit/s for each viewer`],
    ["Pictures so far", camera.frames.toLocaleString()],
    ["Broken ones", camera.bad_frames.toLocaleString()],
  ]);
  fill("Camera", [
    ["State", `${camera.state} for ${span(camera.since_s)}`],
    ["Source", camera.source],
    ["Device", camera.device],
    ["Agreed on", camera.negotiated],
    ["Encoder", camera.encoder],
  ]);
  const viewers = camera.viewers.map(({ address, kind, fps, age_ms, skipped }) =>
    [`${address} ${kind}`, ...(fps === undefined ? ["", "", ""] : [short(fps), age(age_ms), skipped])],
  );
  fill("Watching now", viewers.length ? [["Viewer", "fps", "Age", "Skipped"], ...viewers] : []);
  const faults = camera.recent_faults.map(({ what, hint, ago_s, lasted_s }) => [
    timeAgo(ago_s),
    `${what}: ${hint} (${lasted_s === null ? "not over yet" : `for ${span(lasted_s)}`})`,
  ]);
  fill("Recent faults", faults);
}

function showSystem({ version, hostname, uptime_s, temperature_c, throttled }, fill) {
  fill("piapp", [
    ["Version", version],
    ["Computer", hostname],
    ["Running for", span(uptime_s)],
    ["Temperature", temperature_c !== null && `${Math.round(temperature_c)} °C`],
    ["Power and heat", throttled && (throttled.join(", ") || "fine")],
  ]);
}

// In place, so that what somebody reads or selects stays. Of two columns, rows without a value are left out.
function fillTable(table, rows) {
  const shown = rows.filter((row) => row.length > 2 || row[1]);
  table.parentElement.hidden = !shown.length;
  while (table.rows.length > shown.length) table.deleteRow(-1);
  shown.forEach((texts, i) => {
    const row = table.rows[i] ?? table.insertRow();
    texts.forEach((text, k) => {
      const tag = k === 0 || (texts.length > 2 && i === 0) ? "th" : "td";
      setText(row.cells[k] ?? row.appendChild(element(tag)), String(text));
    });
  });
}
