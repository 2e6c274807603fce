import { createApp } from "./app.ts";

export { PoolObject } from "./objects/pool-object.ts";

export default createApp();
