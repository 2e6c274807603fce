export { buildConsole as setup } from "../../tools/build-console.ts";
