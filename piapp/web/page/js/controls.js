// The panel with everything that can be changed of a camera, whatever it declares.

import { change } from "./api.js";
import { element, time } from "./words.js";

const HOLD_MS = 1000; // for so long after a change the camera may still tell the value from before

// By kind: the elements to change it with, which call `choose` with a new value, and `put` for the value that is
// to be seen in them. `about`: name and id.
const INPUTS = { range, switch: toggle, choice, action };

function range({ label, low, high, step, unit }, about, choose) {
  const limits = { min: low, max: high, step: step || "any" };
  const slider = element("input", { type: "range", ...about, ...limits });
  const field = element("input", { type: "number", inputMode: "decimal", ariaLabel: label, ...limits });
  const put = (value) => {
    slider.value = value; // which keeps it within the limits
    field.value = slider.value;
  };
  const take = (value) => {
    put(value);
    choose(Number(slider.value));
  };
  slider.oninput = () => take(slider.value);
  field.onchange = () => take(field.value || slider.value);
  return { nodes: [slider, element("span", { className: "number" }, field, unit)], put };
}

function toggle(_, about, choose) {
  const box = element("input", { type: "checkbox", className: "toggle", role: "switch", ...about });
  box.onchange = () => choose(box.checked);
  return { nodes: [box], put: (value) => (box.checked = value) };
}

function choice({ choices }, about, choose) {
  const list = element("select", about, ...choices.map((words) => new Option(words)));
  list.onchange = () => choose(list.value);
  return { nodes: [list], put: (value) => (list.value = value) };
}

function action({ label }, about, choose) {
  return { nodes: [element("button", { ...about, onclick: () => choose(true) }, label)], put: () => {} };
}

const isChanged = ({ kind, value, default: usual }) => kind !== "action" && value !== usual;

// One control with its label and a button that puts it back: its element, and `show` for what the camera tells of it.
// `make` takes {name: value}.
function row(control, make) {
  const { name, kind, label } = control;
  const id = `control-${name}`;
  let chosen = -HOLD_MS; // when
  const { nodes, put } = INPUTS[kind](control, { name, id }, (value) => {
    chosen = time();
    make({ [name]: value });
  });
  const reset = element("button", { className: "reset", ariaLabel: `Reset ${label}` }, "Reset");
  reset.onclick = () => {
    make({ [name]: null });
    nodes[0].focus();
  };
  const parts = kind === "action" ? nodes : [element("label", { htmlFor: id }, label), ...nodes, reset];
  const box = element("div", { className: `control ${kind}` }, ...parts);
  const show = (told) => {
    reset.classList.toggle("gone", !isChanged(told));
    for (const input of box.querySelectorAll("[name], [type=number]")) input.disabled = !told.active;
    const held = box.querySelector(":active, [type=number]:focus");
    if (!held && time() - chosen >= HOLD_MS) put(told.value);
  };
  return { box, show };
}

// Sends changes: one request at a time, and then whatever is newest, so that nothing queues up while a slider moves.
// Answers may be old.
function sender(name, failed) {
  let next = {};
  let busy = false;
  return async (values) => {
    Object.assign(next, values);
    if (busy) return;
    busy = true;
    while (Object.keys(next).length) {
      const controls = next;
      next = {};
      await change(name, { controls }).catch(failed);
    }
    busy = false;
  };
}

export function showControls(place, { name }, say) {
  let declared = [];
  let drawn; // from this
  let rows = [];
  let timer = 0;
  const resetAll = element("button", { className: "all" }, "Reset all");
  const send = sender(name, (error) => say(error.message));

  function make(values) {
    send(values);
    clearTimeout(timer);
    timer = setTimeout(refresh, HOLD_MS + 50);
  }

  function refresh() {
    rows.forEach(({ show }, i) => show(declared[i]));
    resetAll.disabled = !declared.some(isChanged);
  }

  function draw() {
    rows = declared.map((control) => row(control, make));
    const groups = new Map(); // in the order in which their first controls come
    declared.forEach(({ group }, i) => {
      if (!groups.has(group)) groups.set(group, element("fieldset", {}, element("legend", {}, group)));
      groups.get(group).append(rows[i].box);
    });
    const empty = element("p", { className: "hint" }, "If this camera has controls, they show once the camera runs.");
    place.replaceChildren(...groups.values(), declared.length ? resetAll : empty);
  }

  function declare(controls) {
    declared = controls.filter(({ kind }) => kind in INPUTS);
    const fixed = declared.map((control) => JSON.stringify({ ...control, value: 0, active: 0 })).join();
    if (fixed !== drawn) draw();
    drawn = fixed;
    refresh();
  }

  const usual = ({ kind, name }) => (kind === "action" ? [] : [[name, null]]);
  resetAll.onclick = () => make(Object.fromEntries(declared.flatMap(usual)));
  return { declare, stop: () => clearTimeout(timer) };
}
