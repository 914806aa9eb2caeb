/** One of the service's newest pictures: the next is asked for when the last one came, so the newest wins. */

const REST_MS = 2000;

export class Picture {
  /** Takes the image element, its URL, and whom to tell its width and height. */
  constructor(image, url, onShape = null) {
    this.onShape = onShape;
    this.image = image;
    this.url = url;
    this.wanted = 0;
    this.shown = 0;
    this.isLoading = false;
    image.addEventListener("load", () => {
      image.hidden = !this.wanted;
      if (this.onShape) this.onShape(image.naturalWidth, image.naturalHeight);
      this.done();
    });
    image.addEventListener("error", () => {
      image.hidden = true;
      setTimeout(() => this.done(), REST_MS);
    });
  }

  /** Shows the picture of a number, which grows with each; 0: there is none. */
  show(number) {
    this.wanted = number;
    // An old picture would pass for the present one.
    if (!number) this.image.hidden = true;
    this.next();
  }

  /** Forgets which was shown: the service began anew. */
  restart() {
    this.shown = this.wanted = 0;
    this.isLoading = false;
  }

  next() {
    if (this.isLoading || !this.wanted || this.wanted === this.shown || document.hidden) return;
    this.isLoading = true;
    this.shown = this.wanted;
    this.image.src = `${this.url}?n=${this.wanted}`;
  }

  done() {
    this.isLoading = false;
    this.next();
  }
}
