/** How ggml's types of KV hold their numbers (ggml-common.h of the pinned llama.cpp). */
import type { KvNumbers } from "../kv-numbers.ts";
import type { KvLayout } from "./kv-state.ts";

/** By ggml's number of the type: one block of `strideBytes` begins with so many floats, the rest are integers that these scale. */
const TYPES: ReadonlyMap<number, Omit<KvNumbers, "tokenBytes">> = new Map([
  [0, { float: "f32", strideBytes: 4, floats: 1 }],
  [1, { float: "f16", strideBytes: 2, floats: 1 }],
  // q4_0, q4_1, q5_0, q5_1, q8_0: a scale, and in the _1 types a minimum behind it.
  [2, { float: "f16", strideBytes: 18, floats: 1 }],
  [3, { float: "f16", strideBytes: 20, floats: 2 }],
  [6, { float: "f16", strideBytes: 22, floats: 1 }],
  [7, { float: "f16", strideBytes: 24, floats: 2 }],
  [8, { float: "f16", strideBytes: 34, floats: 1 }],
  // iq4_nl
  [20, { float: "f16", strideBytes: 18, floats: 1 }],
  [30, { float: "bf16", strideBytes: 2, floats: 1 }],
]);

/** Keys of all layers, then values of all layers, as `cutKvBytes` writes them; undefined for a type that is not known. */
export function kvNumbersOf(layout: KvLayout): KvNumbers[] | undefined {
  const keys = TYPES.get(layout.keyType);
  const values = TYPES.get(layout.valueType);
  if (keys === undefined || values === undefined) return undefined;
  return [
    { ...keys, tokenBytes: layout.layers * layout.keyRowBytes },
    { ...values, tokenBytes: layout.layers * layout.valueRowBytes },
  ];
}
