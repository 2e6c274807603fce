/**
 * A replica that has a request, and cannot say yet what comes of it, says at least that: 200, the header `x-warmpath-verdict: follows`, and white space now and then.
 * Its verdict, the status and content type of the answer, is the first line of the body that is more than white space; the answer itself follows.
 *
 * Example: `\n\n{"status":400,"contentType":"application/json"}\n{"error":…}`
 */
import { z } from "zod";

export const VERDICT_FOLLOWS = "follows";
/** A verdict is shorter than this; so much without a line's end is none. */
export const MOST_VERDICT_BYTES = 1_024;

const Verdict = z.object({ status: z.number().int().min(200).max(599), contentType: z.string().max(128) });
type Verdict = z.infer<typeof Verdict>;

export const encodeVerdict = (verdict: Verdict): string => `${JSON.stringify(verdict)}\n`;

/** Null when the line is none. */
export function parseVerdict(line: string): Verdict | null {
  try {
    return Verdict.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
