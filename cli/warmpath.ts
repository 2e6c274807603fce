#!/usr/bin/env node
/** The `warmpath` command: one subcommand a file, loaded when it is asked for. */
import process from "node:process";

const USAGE = `warmpath <command> [options]
  replica     a replica that joins a pool (warmpath replica --help)
  simulate    routing policies on simulated replicas (warmpath simulate --help)
  replay      logged decisions decided again (warmpath replay --help)
  key         the development key of a deployment (warmpath key --help)
  join-token  the token with which replicas join a pool (warmpath join-token --help)`;

const COMMANDS: Readonly<Record<string, () => Promise<{ main(args: string[]): number | Promise<number> }>>> = {
  replica: () => import("./replica.ts"),
  simulate: () => import("./simulate.ts"),
  replay: () => import("./replay.ts"),
  key: () => import("./key.ts"),
  "join-token": () => import("./join-token.ts"),
};

const [name = "", ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (command !== undefined) process.exitCode = await (await command()).main(args);
else if (name === "" || name === "help" || name === "--help" || name === "-h") console.log(USAGE);
else {
  console.error(`There is no command ${JSON.stringify(name)}.\n${USAGE}`);
  process.exitCode = 2;
}
