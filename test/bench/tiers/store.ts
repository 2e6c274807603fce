/** An S3 store in a process of its own, so that it does not take turns with the replica that asks it. */
import { startStore } from "../../conformance/tier-store.ts";

const store = await startStore();
process.on("disconnect", () => void store.close().finally(() => process.exit(0)));
process.send?.(store.endpoint);
