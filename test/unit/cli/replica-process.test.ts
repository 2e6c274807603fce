import { expect, test } from "vitest";
import { REPLICA_NODE_OPTIONS, replicaEnvironment } from "../../../cli/replica-process.ts";

test("a replica's memory has a bound; what its launcher was given comes after it, and counts", () => {
  expect(replicaEnvironment({ PATH: "/bin" }, { WARMPATH_REPLICA: "one" })).toEqual({
    PATH: "/bin",
    WARMPATH_REPLICA: "one",
    NODE_OPTIONS: REPLICA_NODE_OPTIONS,
  });
  expect(replicaEnvironment({ WARMPATH_REPLICA: "theirs", NODE_OPTIONS: "--max-semi-space-size=64" }, { WARMPATH_REPLICA: "one" })).toEqual(
    {
      WARMPATH_REPLICA: "one",
      NODE_OPTIONS: `${REPLICA_NODE_OPTIONS} --max-semi-space-size=64`,
    },
  );
});
