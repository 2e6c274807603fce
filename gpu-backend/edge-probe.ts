/** Whether an edge would let a replica in: it opens the replica's socket once, says nothing, and closes it. */
import { randomBytes } from "node:crypto";
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { HEADER } from "../src/wire/headers.ts";

interface Door {
  /** ws: or wss:, with /announce/POOL. */
  join: string;
  pool: string;
  name: string;
  token: string;
}

/** Edges let those wait whom they refuse. */
const ANSWER_MS = 15_000;

/** Null: it would; else a sentence that names the remedy. */
export function edgeProblem({ join, pool, name, token }: Door, answerMs = ANSWER_MS): Promise<string | null> {
  const url = new URL(join);
  const isSecure = url.protocol === "wss:";
  url.protocol = isSecure ? "https:" : "http:";
  return new Promise((resolve) => {
    const asked = (isSecure ? secureRequest : plainRequest)(url, {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
        authorization: `Bearer ${token}`,
        [HEADER.replica]: encodeURIComponent(name),
      },
      timeout: answerMs,
    });
    const end = (problem: string | null): void => {
      resolve(problem);
      asked.destroy();
    };
    asked.on("upgrade", (_response, socket) => {
      socket.destroy();
      end(null);
    });
    asked.on("response", ({ statusCode = 0 }) => end(sentenceOf(statusCode, url.host, pool)));
    asked.on("timeout", () => end(`The edge at ${url.host} did not answer within ${answerMs / 1_000} s: check its address.`));
    asked.on("error", (error) => end(`The edge at ${url.host} can't be reached (${causeOf(error)}): check its address, and that it runs.`));
    asked.end();
  });
}

function sentenceOf(status: number, host: string, pool: string): string {
  if (status === 401) return `The edge at ${host} refuses the join token: get pool ${pool}'s with "warmpath join-token ${pool}".`;
  if (status === 404) return `The edge at ${host} has no pool ${pool}: name one of its pools with --pool.`;
  if (status >= 500) return `The edge at ${host} fails (status ${status}): its own log says why.`;
  return `What answers at ${host} is no Warmpath edge (status ${status}): check its address.`;
}

const CAUSES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was cut",
  ENOTFOUND: "no such name is known",
  EAI_AGAIN: "names can't be looked up now",
  ETIMEDOUT: "no answer",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no network",
  EPROTO: "it does not speak TLS there",
};
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/;

function causeOf(error: NodeJS.ErrnoException): string {
  const code = error.code ?? error.name;
  return CAUSES[code] ?? (CERTIFICATE.test(code) ? `its certificate is not trusted: ${code}` : code);
}
