/** A replica's sender in a process of its own: computes the prompt that comes as its first message, and gives its blocks to whoever has a ticket. */
import { once } from "node:events";
import { Sender } from "../../../gpu-backend/transfer/send.ts";
import { TicketGate } from "../../../gpu-backend/transfer/ticket-gate.ts";
import { key, serve } from "../../gpu-backend/transfer-rig.ts";
import { firstToken, modelFile, requestFor, startEngine } from "./rig.ts";

process.on("disconnect", () => process.exit(0));
const [prompt] = (await once(process, "message")) as [string];
const engine = await startEngine(await modelFile());
await firstToken(engine, requestFor(prompt));
const gate = new TicketGate();
gate.welcome(key.toString("base64url"), Date.now(), Date.now());
const sender = new Sender({
  exchange: engine.kv.exchange,
  contextTokens: engine.card.contextTokens,
  gate,
  source: null,
  request: () => Promise.resolve(null),
});
const serving = await serve((request, response) => {
  sender.handle(request, response).catch(() => response.destroy());
});
process.send?.(serving.url);
