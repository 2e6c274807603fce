/** Ids are minted here and lead to the pool that decided: `req_<pool>_<random>`. A client's own id is never used for anything. */
const SHAPE = /^req_([0-9A-Za-z.-]{1,64})_[0-9a-f]{32}$/;

export const mintRequestId = (pool: string): string => `req_${pool}_${crypto.randomUUID().replaceAll("-", "")}`;

export const poolOfRequest = (id: string): string | null => SHAPE.exec(id)?.[1] ?? null;
