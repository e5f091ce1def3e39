// The panel with the camera's addresses for other programs, ready to be copied.

import { address } from "./api.js";
import { element, setText } from "./words.js";

export function showLinks(place, { name }) {
  const links = [
    ["This page", `${location.pathname}#${encodeURIComponent(name)}`, "For any phone or computer in your network."],
    [
      "Live picture",
      `${address(name)}/stream`,
      "VLC: Media, Open Network Stream. OctoPrint: Stream URL. Home Assistant: MJPEG IP Camera, MJPEG URL.",
    ],
    [
      "One picture",
      `${address(name)}/snapshot.jpg`,
      "A new one each time. OctoPrint: Snapshot URL. Home Assistant: Still Image URL.",
    ],
  ];
  if (/^(localhost|127\.|\[::1)/.test(location.hostname)) {
    place.append(element("p", {}, "These work on this computer only."));
  }
  for (const [title, path, hint] of links) {
    const address = new URL(path, document.baseURI).href;
    place.append(element("h3", {}, title), link(title, address), element("p", { className: "hint" }, hint));
  }
}

function link(title, value) {
  const field = element("input", { type: "url", readOnly: true, value, ariaLabel: `Address: ${title}` });
  const button = element("button", {}, "Copy");
  field.onfocus = () => field.select();
  button.onclick = async () => {
    setText(button, (await copy(field)) ? "Copied" : "Press Ctrl+C");
    setTimeout(setText, 3000, button, "Copy");
  };
  return element("div", { className: "link" }, field, button);
}

// Browsers lend the clipboard only to pages over TLS; elsewhere the old way works. The text stays selected either way.
async function copy(field) {
  field.focus();
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
