/** What the page knows of the memory: its cells, how it is doing, and where the memories used last lie. */

const MOST_KNOWN = 3000;
const EVERY_MS = 3000;
const LOOK_UP_MS = 500;
const AT_ONCE = 8;

export class MemoryView {
  /** Takes whom to tell: onCells(cells), onStats(stats or null, why), onHits(places). */
  constructor(handlers) {
    this.handlers = handlers;
    this.forget();
    this.isServed = false;
    this.ids = [];
    setInterval(() => this.refresh(), EVERY_MS);
    setInterval(() => this.lookUp(), LOOK_UP_MS);
  }

  /** Says whether a memory is served, and begins anew. */
  configure(isServed) {
    this.isServed = isServed;
    this.forget();
    this.refresh();
  }

  forget() {
    this.known = new Map();
    this.count = -1;
  }

  /** Takes the ids of the memories used last. */
  used(ids) {
    this.ids = ids;
  }

  async refresh() {
    if (!this.isServed || document.hidden || this.isBusy) return;
    this.isBusy = true;
    try {
      const stats = await this.get("/memory/stats");
      this.handlers.onStats(stats, "");
      if (stats.memory_count !== this.count) {
        const { cells } = await this.get("/memory/cells?most=3000");
        this.count = stats.memory_count;
        this.handlers.onCells(cells);
      }
    } catch (error) {
      this.handlers.onStats(null, error.message);
    } finally {
      this.isBusy = false;
    }
  }

  async lookUp() {
    if (!this.isServed || document.hidden || this.isLooking) return;
    this.isLooking = true;
    try {
      const ids = this.ids.slice(0, AT_ONCE);
      await Promise.all(ids.filter((id) => !this.known.has(id)).map((id) => this.fetchPlace(id)));
      while (this.known.size > MOST_KNOWN) this.known.delete(this.known.keys().next().value);
      this.handlers.onHits(ids.map((id) => this.known.get(id)).filter(Boolean));
    } catch {
      // The connection says that the service is away.
    } finally {
      this.isLooking = false;
    }
  }

  async fetchPlace(id) {
    const record = await this.get(`/memory/records/${id}`, true);
    const pose = record && (record.pose || record);
    this.known.set(id, pose && Number.isFinite(pose.x) ? { x: pose.x, y: pose.y } : null);
  }

  async get(url, isOptional = false) {
    const response = await fetch(url);
    if (response.ok) return response.json();
    if (isOptional && response.status === 404) return null;
    throw new Error(`the memory answers with status ${response.status}`);
  }
}
