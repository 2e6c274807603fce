/** The log of a launcher: all that it and its processes say, with the time and who said it, in two files that take turns. */
import { closeSync, fstatSync, lstatSync, openSync, renameSync, writeSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

const MOST_BYTES = 4 * 1024 * 1024;
const MOST_LINE = 4_000;

export class LogFile {
  readonly #file: string;
  readonly #secrets: readonly string[];
  readonly #mostBytes: number;
  readonly #now: () => Date;
  /** Null: nothing can be written, and nothing more is tried. */
  #handle: number | null = null;
  #bytes = 0;

  /** `secrets`: texts that are never written, whoever says them. A log that can't be written stops nobody. */
  constructor(file: string, secrets: readonly string[] = [], mostBytes = MOST_BYTES, now = () => new Date()) {
    this.#file = file;
    this.#secrets = secrets;
    this.#mostBytes = mostBytes;
    this.#now = now;
    this.#open();
  }

  /** Text of several lines becomes several lines. */
  write(who: string, text: string): void {
    for (const line of stripVTControlCharacters(text).split("\n"))
      if (line.trim() !== "") this.#line(`${this.#now().toISOString()} ${who} ${this.#without(line.trimEnd())}\n`);
  }

  #line(line: string): void {
    if (this.#bytes + Buffer.byteLength(line) > this.#mostBytes) this.#turn();
    if (this.#handle === null) return;
    try {
      this.#bytes += writeSync(this.#handle, line);
    } catch {
      // A full disk: the next turn tries again.
    }
  }

  #without(line: string): string {
    return this.#secrets.reduce((text, secret) => text.replaceAll(secret, "(secret)"), line).slice(0, MOST_LINE);
  }

  #open(): void {
    try {
      // Only a file: opening a pipe would wait for its reader.
      if (lstatSync(this.#file, { throwIfNoEntry: false })?.isFile() === false) return;
      this.#handle = openSync(this.#file, "a", 0o600);
      this.#bytes = fstatSync(this.#handle).size;
    } catch {
      this.#handle = null;
    }
  }

  /** What was the log is the older one now; what was the older one is gone. */
  #turn(): void {
    if (this.#handle === null) return;
    closeSync(this.#handle);
    this.#handle = null;
    try {
      renameSync(this.#file, `${this.#file}.1`);
    } catch {
      // Then it stays as long as it is, and nothing is added.
      return;
    }
    this.#open();
  }
}
