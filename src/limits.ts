/**
 * Times that two processes share, or that one process must keep shorter than another: edge, pool object, replica and launcher. What each must exceed is
 * held by test/unit/limits.test.ts. ms.
 */

/** The replica tells its pool that it lives, and what it works on. */
export const HEARTBEAT_MS = 1_000;
/** A replica that is silent for this long gets nothing new. */
export const SUSPECT_AFTER_MS = 3_000;
/** After this it is forgotten, and its leases end. */
export const EXPIRED_AFTER_MS = 10_000;
/** A replica whose socket closed is forgotten after this, unless it comes back. */
export const FORGOTTEN_AFTER_CLOSE_MS = 3_000;
/** What is due at a pool is looked at this often. */
export const POOL_TICK_MS = 250;

/** A pool holds an edge's call open for this long while the request waits in line; then the edge calls again. */
export const HOLD_MS = 5_000;
/** A place in line that no call has renewed for this long is given up. */
export const CLAIM_LIVES_MS = 7_000;
/** A request waits for a free replica at most this long. */
export const MOST_WAIT_MS = 90_000;

/** A lease that its replica has not taken up for this long ends. */
export const RESERVED_LIVES_MS = 5_000;
/** The edge's right to use a replica once, and the replica's to fetch a sender's KV. */
export const ADMISSION_LIVES_MS = 15_000;

/** A replica says within this that a request is here, whatever it still has to do with it. */
export const ACCEPTED_WITHIN_MS = 1_000;
/** An edge takes a replica for lost that has said nothing for this long after the body had time to arrive. */
export const HEADERS_TIMEOUT_MS = 3_000;
/** While a replica has nothing to say it shows this often that it lives. */
export const KEEP_ALIVE_MS = 1_000;
/** An edge takes a replica for lost that has begun to answer and has been silent for this long. */
export const SILENCE_MS = 10_000;

/** The launcher waits at most this long for pools to refuse those who wait in line. */
export const LINE_LEAVES_MS = 5_000;
