/** Tries a replica's way back: fetches a signed nonce from its URL. The URL is a replica's own word until then, and may be a stranger's. */
import { TRY_MS, type WayOutcome, type WayTry } from "../../src/pool/way-back.ts";
import type { Mac } from "../../src/wire/sealed.ts";
import { MOST_PROOF_BYTES, signNonce, wayBackPath } from "../../src/wire/way-back.ts";
import { sameText } from "../env.ts";
import type { AdmissionKeys } from "./admission-keys.ts";

/** Never rejects. */
export function tryWay(made: WayTry, keys: Pick<AdmissionKeys, "macOf">): Promise<WayOutcome> {
  const mac = keys.macOf(made);
  return mac === null ? Promise.resolve({ reached: false, why: "it has no key here" }) : tryWayBack(made, mac);
}

/** Never rejects. Nothing of what the URL answers is passed on but its status. `mac`: under the key of the replica's epoch. */
export async function tryWayBack({ url }: Pick<WayTry, "url">, mac: Mac): Promise<WayOutcome> {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64url");
  const signal = AbortSignal.timeout(TRY_MS);
  const failed = (why: string): WayOutcome => ({ reached: false, why });
  try {
    const response = await fetch(url + wayBackPath(nonce), { redirect: "manual", signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      const redirects = response.status >= 300 && response.status < 400;
      return failed(redirects ? `it redirects (${response.status})` : `it answered ${response.status}`);
    }
    const proof = await readShort(response);
    return proof !== null && sameText(proof, signNonce(nonce, mac)) ? { reached: true } : failed("what answers there is not this replica");
  } catch {
    return failed(signal.aborted ? `no answer within ${TRY_MS / 1_000} s` : "no connection");
  }
}

/** Null when it is longer than a proof. */
async function readShort(response: Response): Promise<string | null> {
  if (response.body === null) return "";
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader();
  let bytes = Buffer.alloc(0);
  for (;;) {
    const read = await reader.read();
    if (read.done) return bytes.toString("latin1");
    bytes = Buffer.concat([bytes, read.value]);
    if (bytes.byteLength <= MOST_PROOF_BYTES) continue;
    await reader.cancel();
    return null;
  }
}
