import { describeEngine } from "./engine.ts";
import { PlainEngine } from "./plain-engine.ts";

describeEngine("an engine without KV", "none", () =>
  Promise.resolve(new PlainEngine({ sequences: 2, queueLimit: 2, contextTokens: 1_024 })),
);
