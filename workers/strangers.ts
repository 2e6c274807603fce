/** Those who come without a right, again and again: an answer at once would be an invitation to come at once. */

const WAIT_MS = 500;
/** Refusals in a second that are not made to wait: a replica that was started with a wrong token should hear of it. */
const FREE_A_SECOND = 4;
/** At once. Whoever comes beyond these gets the answer at once, which costs less than to keep the socket. */
const MOST_WAITING = 1_000;

export class Strangers {
  #second = 0;
  #refused = 0;
  #waiting = 0;

  /** Resolves when the next refusal may go out. */
  async wait(): Promise<void> {
    const second = Math.floor(Date.now() / 1_000);
    if (second !== this.#second) [this.#second, this.#refused] = [second, 0];
    if (++this.#refused <= FREE_A_SECOND || this.#waiting >= MOST_WAITING) return;
    this.#waiting++;
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    this.#waiting--;
  }
}
