import { createApp } from "./app.ts";

export { PoolObject } from "./objects/pool-object.ts";
export { ResponseObject } from "./objects/response-object.ts";

export default createApp();
