import { expect, it } from "vitest";
import { hasRoom } from "../../../src/records/disk-room.ts";

const MIB = 1024 * 1024;

it.each([16 * MIB, 256 * MIB, 1024 ** 4])(
  "of a disk of %d bytes records give up before the pool does, and neither while it is half empty",
  (totalBytes) => {
    expect(hasRoom({ freeBytes: totalBytes / 2, totalBytes }, "records")).toBe(true);
    expect(hasRoom({ freeBytes: totalBytes / 2, totalBytes }, "pool")).toBe(true);
    expect(hasRoom({ freeBytes: 0, totalBytes }, "pool")).toBe(false);
    const freeBytes = Math.min(20 * MIB, totalBytes / 20);
    expect(hasRoom({ freeBytes, totalBytes }, "records")).toBe(false);
    expect(hasRoom({ freeBytes, totalBytes }, "pool")).toBe(true);
  },
);

it("of a large disk 32 MiB are enough for records and 16 MiB for the pool", () => {
  const totalBytes = 1024 ** 4;
  expect(hasRoom({ freeBytes: 33 * MIB, totalBytes }, "records")).toBe(true);
  expect(hasRoom({ freeBytes: 17 * MIB, totalBytes }, "pool")).toBe(true);
});
