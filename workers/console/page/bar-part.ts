/** What a part of a bar stands for; each has its colour in page.css. */
export type PartKind = "waits" | "loads" | "computes" | "other";

export interface BarPart {
  size: number;
  kind: PartKind;
}
