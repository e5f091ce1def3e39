// What the badge of a picture says: its age, the rate, how many were skipped. The age is averaged over the time since
// the last reading: a picture is fresh when it is drawn, and then grows old until the next one comes.

const RATE_MS = 2500;
const SKIPPED_MS = 10000; // lately: a sum since yesterday would tell nothing
const STALE_MS = 2000;

export class Meter {
  #taken = null; // when the picture on the screen was taken; null: not known
  #mark = 0; // up to here its age is in #sum, over #span
  #sum = 0;
  #span = 0;
  #isNew = false; // since the last reading
  #number = 0; // of the newest picture
  #drawn = []; // when, lately
  #skipped = []; // when and how many, lately

  // What lies between here and the next picture was not skipped: there was nothing, or nobody looked.
  restart() {
    this.#number = 0;
  }

  // A picture is on the screen now.
  drawn(now, taken, number) {
    if (now - this.#drawn[this.#drawn.length - 1] < STALE_MS) this.#grow(now);
    if (this.#number) this.#skipped.push({ at: now, count: number - this.#number - 1 });
    this.#drawn.push(now);
    this.#number = number;
    this.#taken = taken;
    this.#mark = now;
    this.#isNew = true;
  }

  read(now) {
    this.#grow(now);
    const ageMs = this.#isNew && this.#span > 0 ? this.#sum / this.#span : now - this.#taken;
    this.#sum = this.#span = 0;
    this.#isNew = false;
    const times = (this.#drawn = this.#drawn.filter((at) => now - at < RATE_MS));
    this.#skipped = this.#skipped.filter(({ at }) => now - at < SKIPPED_MS);
    return {
      ageMs: this.#taken === null ? null : Math.max(0, ageMs),
      fps: times.length < 2 ? 0 : ((times.length - 1) * 1000) / (times[times.length - 1] - times[0]),
      skipped: this.#skipped.reduce((sum, { count }) => sum + count, 0),
    };
  }

  #grow(now) {
    if (this.#taken !== null) {
      this.#sum += (now - this.#mark) * ((now + this.#mark) / 2 - this.#taken);
      this.#span += now - this.#mark;
    }
    this.#mark = now;
  }
}
