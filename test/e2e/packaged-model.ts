/** A wheel made here, and a program called python3 that hands it out as pip would. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";

export interface WheelFile {
  name: string;
  bytes: Buffer;
  isDeflated: boolean;
}

/** As Python's zipfile writes it (APPNOTE.TXT §4.3). */
export function makeWheel(files: readonly WheelFile[], comment = ""): Buffer {
  const [local, central]: [Buffer[], Buffer[]] = [[], []];
  let at = 0;
  for (const { name, bytes, isDeflated } of files) {
    const packed = isDeflated ? deflateRawSync(bytes) : bytes;
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(isDeflated ? 8 : 0, 4);
    shared.writeUInt32LE(crc32(bytes), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(bytes.length, 18);
    shared.writeUInt16LE(Buffer.byteLength(name), 22);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(at, 10);
    local.push(Buffer.from("PK\x03\x04", "latin1"), shared, Buffer.from(name), packed);
    central.push(Buffer.from("PK\x01\x02\x14\0", "latin1"), shared, entry, Buffer.from(name));
    at += 4 + shared.length + Buffer.byteLength(name) + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...local, directory, end, Buffer.from(comment)]);
}

export interface FakePip {
  /** For PATH. */
  path: string;
  /** How often it was asked. */
  calls(): number;
}

/** `body`: shell, where $dest is the folder that the wheel has to come to. */
export function fakePip(folder: string, body: string): FakePip {
  const path = join(folder, "bin");
  const log = join(folder, "calls");
  mkdirSync(path, { recursive: true });
  writeFileSync(log, "");
  const script = `#!/bin/sh\necho called >> "${log}"\nwhile [ $# -gt 0 ]; do [ "$1" = --dest ] && dest="$2"; shift; done\nmkdir -p "$dest"\n${body}\n`;
  writeFileSync(join(path, "python3"), script);
  chmodSync(join(path, "python3"), 0o755);
  return { path, calls: () => readFileSync(log, "utf8").split("\n").length - 1 };
}
