/** Owns the directory that is named until it is killed. */
import { ownDirectory } from "../../gpu-backend/blocks/directory-owner.ts";

await ownDirectory(process.argv[2] ?? "");
process.send?.("owned");
setInterval(() => undefined, 60_000);
