/** Fields that several control frames have. */
import { z } from "zod";
import { MOST_ATTEMPTS } from "./admission.ts";

export const NAME = /^[0-9A-Za-z._-]{1,64}$/;
export const MOST_COUNT = 0xffffffff;
export const MOST_LEASE_ID = 128;
/** Of a text that says why. */
export const MOST_WHY = 200;

export const name = z.string().regex(NAME);
export const count = z.number().int().nonnegative().max(MOST_COUNT);
/** Measured, ms. Any number passes here: the pool leaves out what lies outside its range (src/router/lease-report.ts), and no socket is closed for it. */
export const millis = z.custom<number>((value) => typeof value === "number", "not a number");
export const attempt = z.number().int().min(1).max(MOST_ATTEMPTS);
/** A request's, or that of the prefill another replica does for it (`<request id>~prefill`). */
export const leaseId = z.string().max(MOST_LEASE_ID);
export const why = z.string().max(MOST_WHY);
