import { createApp } from "./app.ts";

export { DirectoryObject } from "./objects/directory-object.ts";
export { PoolObject } from "./objects/pool-object.ts";
export { RecordsObject } from "./objects/records-object.ts";

export default createApp();
