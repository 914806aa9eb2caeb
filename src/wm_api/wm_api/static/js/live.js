/** The stream of what is live, kept open: broken off it is opened again, and how it stands is told. */

import { eventsOf, LockedError, open } from "./events.js";

const SILENT_AFTER_MS = 2000;
const DEAD_AFTER_MS = 25000;
const SHORTEST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 3000;

/**
 * Follows a stream for as long as the page is open.
 *
 * States: "waiting" (connected, nothing came yet), "live", "silent" (connected, but frames stopped: the robot's graph or
 * recording is gone), "gone" (the service does not answer), "locked" (it wants its token).
 */
export class Live {
  /** Takes the stream's URL; handlers: onEvent(event), onState(state, sinceMs, text), onOpen(). */
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
    this.frameAt = null;
    this.heardAt = null;
    this.state = "gone";
    this.reason = "connecting";
    this.isHeard = false;
    this.unlock = null;
  }

  /** Begins, and never ends. */
  start() {
    setInterval(() => this.tell(), 500);
    this.follow();
  }

  /** Goes on after the token was handed in. */
  unlocked() {
    if (this.unlock) this.unlock();
  }

  async follow() {
    let pause = SHORTEST_PAUSE_MS;
    for (;;) {
      try {
        await this.once(() => { pause = SHORTEST_PAUSE_MS; });
        this.lost("the stream ended");
      } catch (error) {
        if (error instanceof LockedError) {
          this.isHeard = false;
          this.set("locked", error.message);
          await new Promise((resolve) => { this.unlock = resolve; });
          continue;
        }
        this.lost(error instanceof TypeError || error.name === "AbortError" ? "the service does not answer" : error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS);
    }
  }

  async once(onOpened) {
    const aborting = new AbortController();
    this.heardAt = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - this.heardAt > DEAD_AFTER_MS) aborting.abort();
    }, 1000);
    try {
      // From no event on: a new watcher is told how all things stand.
      const response = await open(this.url, { signal: aborting.signal });
      onOpened();
      this.isHeard = true;
      this.frameAt = null;
      this.openedAt = performance.now();
      this.set("waiting", "connected, nothing is live yet");
      this.handlers.onOpen();
      for await (const event of eventsOf(response)) {
        this.heardAt = performance.now();
        if (event.name === "frame") {
          this.frameAt = performance.now();
          this.tell();
        }
        if (event.name !== "ping") this.handlers.onEvent(event);
      }
    } finally {
      clearInterval(watch);
      aborting.abort();
    }
  }

  lost(reason) {
    this.isHeard = false;
    this.set("gone", reason);
  }

  tell() {
    if (!this.isHeard) {
      this.handlers.onState(this.state, this.frameAt === null ? null : performance.now() - this.frameAt, this.reason);
      return;
    }
    if (this.frameAt === null) return;
    const sinceMs = performance.now() - this.frameAt;
    this.set(sinceMs > SILENT_AFTER_MS ? "silent" : "live", "", sinceMs);
  }

  set(state, reason, sinceMs = null) {
    const isNew = state !== this.state;
    this.state = state;
    this.reason = reason;
    if (isNew || state === "silent") this.handlers.onState(state, sinceMs, reason);
  }
}
