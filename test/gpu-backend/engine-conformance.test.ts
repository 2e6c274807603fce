import { describeEngine } from "../conformance/engine.ts";
import { startDemo } from "./engine-runs.ts";

describeEngine("llama.cpp", "exchange", () => startDemo({ sequences: 2, queueLimit: 1 }));
