// Whether anybody can see the page. Nobody: the pictures stop soon, and later the connection is closed, for phones,
// their batteries, and whoever pays for the traffic. Somebody again: at once.

const AWAY_MS = 1500; // not for a glance at another tab
const GONE_MS = 30000;

// `tell(visible)`; `connection` can close and resume.
export function followPresence(tell, connection) {
  let timers = [];
  const leave = () => {
    tell(false);
    connection.close();
  };
  const look = () => {
    timers.forEach(clearTimeout);
    if (document.hidden) timers = [setTimeout(tell, AWAY_MS, false), setTimeout(leave, GONE_MS)];
    else {
      tell(true);
      connection.resume();
    }
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("pageshow", look); // also out of the browser's memory, after "back"
  addEventListener("online", () => document.hidden || look());
  addEventListener("pagehide", leave);
}
