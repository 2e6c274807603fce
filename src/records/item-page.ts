/** A page of a list, as OpenAI's APIs cut it: by the id that it comes after. */

export interface Page {
  after: string | null;
  /** 1 … 100. */
  limit: number;
  order: "asc" | "desc";
}

type PageAnswer =
  | { type: "page"; data: readonly { id?: string }[]; firstId: string | null; lastId: string | null; hasMore: boolean }
  | { type: "unknown_after" };

/** @param items oldest first */
export function pageOfItems(items: readonly { id?: string }[], { after, limit, order }: Page): PageAnswer {
  const ordered = order === "desc" ? items.toReversed() : items;
  const at = after === null ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
  if (after !== null && at === 0) return { type: "unknown_after" };
  const data = ordered.slice(at, at + limit);
  return { type: "page", data, firstId: data[0]?.id ?? null, lastId: data.at(-1)?.id ?? null, hasMore: at + limit < ordered.length };
}
