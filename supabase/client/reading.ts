/**
 * When to read a row again: never twice at once, never in a rush, and now and then by itself.
 *
 * 1. What is asked for while a reading is under way is one more reading after it.
 * 2. A reading that failed is repeated, at longer and longer intervals.
 * 3. Silence is no proof that nothing happened, as the last message may be the one that was lost: after a while without
 *    a word it is read anyway, soon at first and then slowly.
 * 4. News of one thing is no proof that nothing else was lost: however much is heard, the last reading is never older
 *    than the longest silence.
 */

export interface Pace {
  /** Between two readings, at least. */
  apartMs: number;
  /** Silence after which it is read, at first; it doubles up to `slowMs`. */
  quietMs: number;
  /** From one reading to the next at the most, whatever is heard. */
  slowMs: number;
}

export const PACE: Pace = { apartMs: 250, quietMs: 5000, slowMs: 30_000 };

export class Reader {
  readonly #read: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  readonly #pace: Pace;
  #reading = false;
  #wanted = false;
  #over = false;
  #last: number;
  #failures = 0;
  #silence: number;
  #next: ReturnType<typeof setTimeout> | undefined;
  #quiet: ReturnType<typeof setTimeout> | undefined;

  constructor(read: () => Promise<void>, failed: (error: unknown) => void, pace: Pace) {
    this.#read = read;
    this.#failed = failed;
    this.#pace = pace;
    this.#silence = pace.quietMs;
    // As if it had been read just long enough ago to read at once.
    this.#last = performance.now() - pace.apartMs;
    this.#listen();
  }

  /** Reads as soon as it may. */
  soon(): void {
    if (this.#over) return;
    this.#wanted = true;
    if (this.#reading || (this.#next !== undefined && this.#failures === 0)) return;
    clearTimeout(this.#next);
    this.#after(Math.max(0, this.#last + this.#pace.apartMs - performance.now()));
  }

  /** There was news: silence begins anew. */
  heard(): void {
    this.#silence = this.#pace.quietMs;
    this.#listen();
  }

  /** Nothing more will be read; no timer is left. */
  stop(): void {
    this.#over = true;
    clearTimeout(this.#next);
    clearTimeout(this.#quiet);
  }

  #after(ms: number): void {
    this.#next = setTimeout(() => {
      this.#next = undefined;
      void this.#once();
    }, ms);
  }

  async #once(): Promise<void> {
    this.#wanted = false;
    this.#reading = true;
    clearTimeout(this.#quiet);
    try {
      await this.#read();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      this.#wanted = true;
      if (!this.#over) this.#failed(error);
    }
    this.#reading = false;
    this.#last = performance.now();
    if (this.#over) return;
    this.#listen();
    if (this.#wanted) {
      this.#after(this.#failures ? Math.min(1000 * 2 ** (this.#failures - 1), this.#pace.slowMs) : this.#pace.apartMs);
    }
  }

  #listen(): void {
    clearTimeout(this.#quiet);
    // What is heard while it is read is no silence; the end of the reading begins it.
    if (this.#over || this.#reading) return;
    const left = this.#last + this.#pace.slowMs - performance.now();
    this.#quiet = setTimeout(() => {
      this.#silence = Math.min(this.#silence * 2, this.#pace.slowMs);
      this.soon();
    }, Math.max(0, Math.min(this.#silence, left)));
  }
}
