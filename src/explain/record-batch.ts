/** Many records as one row of storage: a row costs the same whatever it holds. */
import type { CompactRecord } from "./record.ts";
import type { Profile } from "../decision/decision.ts";

/** Of the layout below; rows of another are passed over. */
const FORMAT = 1;

export interface RecordBatch {
  /** JSON: everything but the views' bytes. Names and profiles, which records share, stand once. */
  heads: string;
  /** The views' bytes, one record's after the other's. */
  views: Uint8Array<ArrayBuffer>;
}

interface Heads {
  format: number;
  names: string[][];
  profiles: Profile[];
  records: Head[];
}

/** `names` and `profile` point into the lists; `viewBytes` is its part of `views`. */
type Head = Omit<CompactRecord, "view" | "profile"> & {
  profile: number;
  view: Omit<CompactRecord["view"], "names" | "bytes"> & { names: number; viewBytes: number };
};

/** Each different text once, by number. */
class Shared {
  readonly texts: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** And the bytes that it adds. */
  number(text: string): { number: number; added: number } {
    const known = this.#numbers.get(text);
    if (known !== undefined) return { number: known, added: 0 };
    this.#numbers.set(text, this.texts.length);
    return { number: this.texts.push(text) - 1, added: utf8Bound(text) };
  }
}

/** Takes records for as long as the row stays below `mostBytes`, and one in any case; `count` of them. */
export function batchOf(records: Iterable<CompactRecord>, mostBytes: number): RecordBatch & { count: number } {
  const [names, profiles] = [new Shared(), new Shared()];
  const heads: string[] = [];
  const views: Uint8Array[] = [];
  let [bytes, viewBytes] = [0, 0];
  for (const record of records) {
    const { view, profile, ...rest } = record;
    const { bytes: own, names: ownNames, ...sizes } = view;
    const [namedAs, profiledAs] = [names.number(JSON.stringify(ownNames)), profiles.number(JSON.stringify(profile))];
    const shown: Head = { ...rest, profile: profiledAs.number, view: { ...sizes, names: namedAs.number, viewBytes: own.length } };
    const head = JSON.stringify(shown);
    bytes += utf8Bound(head) + own.length + namedAs.added + profiledAs.added;
    if (bytes > mostBytes && heads.length > 0) break;
    heads.push(head);
    views.push(own);
    viewBytes += own.length;
  }
  const joined = new Uint8Array(viewBytes);
  let at = 0;
  for (const view of views) {
    joined.set(view, at);
    at += view.length;
  }
  const text = `{"format":${FORMAT},"names":[${names.texts.join()}],"profiles":[${profiles.texts.join()}],"records":[${heads.join()}]}`;
  return { heads: text, views: joined, count: heads.length };
}

/** What `batchOf` made, in its order; none of a row in another format. */
export function recordsOf({ heads, views }: RecordBatch): CompactRecord[] {
  const { format, names, profiles, records } = JSON.parse(heads) as Heads;
  if (format !== FORMAT) return [];
  let at = 0;
  return records.flatMap((head): CompactRecord[] => {
    const { names: namedAs, viewBytes, ...sizes } = head.view;
    const bytes = views.slice(at, at + viewBytes);
    at += viewBytes;
    const profile = profiles[head.profile];
    return profile === undefined ? [] : [{ ...head, profile, view: { ...sizes, names: names[namedAs] ?? [], bytes } }];
  });
}

/** At least the bytes of its UTF-8, and the comma behind it. */
function utf8Bound(text: string): number {
  return 1 + text.length * (/^\p{ASCII}*$/u.test(text) ? 1 : 3);
}
