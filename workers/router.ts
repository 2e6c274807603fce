import { createApp } from "./app.ts";

export { DirectoryObject } from "./objects/directory-object.ts";
export { PoolObject } from "./objects/pool-object.ts";
export { ResponseObject } from "./objects/response-object.ts";

export default createApp();
