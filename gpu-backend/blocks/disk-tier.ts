/**
 * Blocks as files: `<directory>/<first two digits of the key>/<key>`, each an envelope (block.ts) and nothing else.
 *
 * A file is written under `incoming/`, synced, and renamed to its name, so a name never stands for half a block while the machine
 * stays up. The folder is not synced: after a power cut a block may be missing or, at worst, damaged. Both are found (by its absence,
 * by its checksum) and cost a recomputation, which is cheaper than a second sync for every block.
 *
 * The directory belongs to one replica at a time (directory-owner.ts). It is marked as ours when it is made; one that has other things in it is refused, since what
 * lies in it and is no block of this engine is deleted at open.
 *
 * A disk that is full before the budget is used counts as a smaller budget for a while (ceiling.ts).
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { EngineKey } from "../engine/engine.ts";
import { type BlockFault, inspectHeader, type SealedBlock } from "./block.ts";
import { clearForFile, makeFolder, readWhole, removeWhatever, unlessAborted, writeSynced } from "./block-files.ts";
import { Ceiling } from "./ceiling.ts";
import { claimDirectory, findBlocks, INCOMING, mark } from "./disk-directory.ts";
import { Residents } from "./residents.ts";
import { freshCounters, type Inspect, type PutOutcome, type Tier } from "./tier.ts";

export interface DiskTierOptions {
  directory: string;
  budgetBytes: number;
  /** Milliseconds, the clock of `pin`. */
  now: () => number;
  /** Blocks of other spaces are deleted at open. */
  kvSpace: string;
  /** How bytes get to a file that does not exist yet, durably. Tests put a full disk here. */
  writeNew?: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Reads a file of at most this many bytes, and nothing of a longer one. Tests put a slow disk here. */
  readWhole?: (path: string, bytes: number) => Promise<Uint8Array | BlockFault>;
}

/** Evicted for one block that finds the disk full; then it is refused, since others take what we free. */
const MAX_TRIES = 4;
const NO_ROOM: ReadonlySet<string | undefined> = new Set(["ENOSPC", "EDQUOT"]);
/** Finds again what an earlier run left. Rejects when the directory can't be made or read, is not ours, or is used by another replica. */
export async function openDiskTier(options: DiskTierOptions): Promise<Tier> {
  const disown = await claimDirectory(options.directory);
  const tier = new DiskTier(options, disown);
  try {
    await tier.recover();
  } catch (error) {
    await disown();
    throw error;
  }
  return tier;
}

function sealedIn(bytes: Uint8Array, key: EngineKey, inspect: Inspect | undefined): SealedBlock | BlockFault {
  const header = inspectHeader(bytes, key);
  if ("fault" in header) return header.fault;
  return inspect?.(bytes) ?? { key, parent: header.parent, bytes };
}

class DiskTier implements Tier {
  readonly name = "disk";
  readonly budgetBytes: number;
  readonly counters = freshCounters();
  readonly #options: DiskTierOptions;
  readonly #disown: () => Promise<void>;
  readonly #residents: Residents;
  readonly #ceiling: Ceiling;
  /** Changes to files, one after the other: a name is never written and deleted at once. */
  #lane: Promise<unknown> = Promise.resolve();
  #written = 0;
  #changed: (key: EngineKey, held: boolean) => void = () => {};

  constructor(options: DiskTierOptions, disown: () => Promise<void>) {
    this.#options = options;
    this.#disown = disown;
    this.budgetBytes = options.budgetBytes;
    this.#residents = new Residents(options);
    this.#ceiling = new Ceiling(options);
  }

  get usedBytes(): number {
    return this.#residents.usedBytes;
  }

  get pinnedBytes(): number {
    return this.#residents.pinnedBytes;
  }

  has(key: EngineKey): boolean {
    return this.#residents.has(key);
  }

  keys(): Iterable<EngineKey> {
    return this.#residents.keys();
  }

  onChange(listener: (key: EngineKey, held: boolean) => void): void {
    this.#changed = listener;
  }

  pin(key: EngineKey, untilMs: number): boolean {
    return this.#residents.pin(key, untilMs);
  }

  async get(key: EngineKey, signal?: AbortSignal, inspect?: Inspect): Promise<SealedBlock | null> {
    if (!this.has(key)) return this.#missed();
    let read: Uint8Array | BlockFault | null;
    try {
      const readFrom = this.#options.readWhole ?? readWhole;
      read = await unlessAborted(readFrom(this.#path(key), this.#residents.bytesOf(key)), signal);
    } catch {
      // Evicted meanwhile, or the disk fails.
      if (this.has(key)) this.counters.errors++;
      await this.forget(key);
      return this.#missed();
    }
    if (read === null) return this.#missed();
    const sealed = typeof read === "string" ? read : sealedIn(read, key, inspect);
    if (typeof sealed === "string") {
      // Evicted and written anew meanwhile is no damage.
      if (this.has(key)) this.counters.damaged[sealed]++;
      await this.forget(key);
      return this.#missed();
    }
    this.counters.hits++;
    this.#residents.use(key);
    return sealed;
  }

  #missed(): null {
    this.counters.misses++;
    return null;
  }

  put(block: SealedBlock): Promise<PutOutcome> {
    return this.#inLane(async () => {
      if (this.has(block.key)) {
        this.#residents.use(block.key);
        return "present";
      }
      if (block.parent !== null) this.#residents.expect(block.parent);
      const stored = await this.#place(block);
      if (block.parent !== null) this.#residents.unexpect(block.parent);
      if (!stored) {
        this.counters.refused++;
        return "refused";
      }
      this.#residents.add({ key: block.key, parent: block.parent, bytes: block.bytes.length });
      this.#changed(block.key, true);
      return "stored";
    });
  }

  async #place(block: SealedBlock): Promise<boolean> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (!(await this.#makeRoom(block.bytes.length))) return false;
      const written = await this.#write(block);
      if (written !== "full") return written === "written";
      this.counters.full++;
      this.#ceiling.full(this.usedBytes);
    }
    return false;
  }

  async #makeRoom(bytes: number): Promise<boolean> {
    const limit = this.#ceiling.bytes - bytes;
    while (limit >= 0 && this.usedBytes > limit) {
      const victim = this.#residents.victim();
      if (victim === null) return false;
      this.counters.evicted++;
      await this.#remove(victim);
    }
    return limit >= 0;
  }

  /** Unless "written", nothing of it is left. */
  async #write({ key, bytes }: SealedBlock): Promise<"written" | "full" | "failed"> {
    const incoming = join(this.#options.directory, INCOMING, `${this.#written++}`);
    const path = this.#path(key);
    try {
      await this.#makeFolders(key);
      await rm(incoming, { recursive: true, force: true });
      await (this.#options.writeNew ?? writeSynced)(incoming, bytes);
      if (await clearForFile(path)) this.counters.damaged.not_a_file++;
      await rename(incoming, path);
      return "written";
    } catch (error) {
      await rm(incoming, { recursive: true, force: true }).catch(() => {});
      if (NO_ROOM.has((error as NodeJS.ErrnoException).code)) return "full";
      this.counters.errors++;
      return "failed";
    }
  }

  /** Makes the folder at each write: a tier goes on when an operator removed or replaced its folder. */
  async #makeFolders(key: EngineKey): Promise<void> {
    const { directory } = this.#options;
    const incoming = await makeFolder(join(directory, INCOMING));
    if (incoming === "something") this.counters.errors++;
    // With the directory itself its mark may be gone, and the next start would refuse it.
    if (incoming !== "folder") await mark(directory);
    if ((await makeFolder(this.#folder(key))) === "something") this.#lose(key);
  }

  /** The folder of this key turned out to be none: its blocks are gone. */
  #lose(key: EngineKey): void {
    const folder = key.slice(0, 2);
    for (const other of [...this.keys()].filter((held) => held.startsWith(folder))) {
      this.#residents.remove(other);
      this.#changed(other, false);
      this.counters.damaged.not_a_file++;
    }
  }

  forget(key: EngineKey): Promise<void> {
    return this.#inLane(() => this.#remove(key));
  }

  async #remove(key: EngineKey): Promise<void> {
    if (!this.#residents.remove(key)) return;
    this.#changed(key, false);
    try {
      if ((await removeWhatever(this.#path(key))) === "something") this.#lose(key);
    } catch {
      this.counters.errors++;
    }
  }

  async close(): Promise<void> {
    await this.#lane;
    await this.#disown();
  }

  async recover(): Promise<void> {
    const { directory, kvSpace } = this.#options;
    for (const block of await findBlocks(directory, kvSpace, this.counters)) this.#residents.add(block);
    await this.#makeRoom(0);
  }

  #folder(key: EngineKey): string {
    return join(this.#options.directory, key.slice(0, 2));
  }

  #path(key: EngineKey): string {
    return join(this.#folder(key), key);
  }

  #inLane<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#lane.then(work);
    this.#lane = result.catch(() => {});
    return result;
  }
}
