// Elements, time, and how durations, ages and times are said.

export const time = () => performance.now();

export const find = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Only when it differs, so that what somebody has selected stays so.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const UNITS = [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "days"]];

export function span(seconds) {
  const [, size, unit] = UNITS.find(([limit]) => seconds < limit);
  return `${Math.round(seconds / size)} ${unit}`;
}

export function age(ms) {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : span(ms / 1000);
}

// The local time so many seconds ago, with the day unless that is today.
export function timeAgo(seconds) {
  const then = new Date(Date.now() - seconds * 1000);
  const day = then.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return then.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}

export const short = (number) => String(number < 9.95 ? Math.round(number * 10) / 10 : Math.round(number));
