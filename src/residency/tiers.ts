/** Where KV lies, as bits: an entry may lie on several tiers. They go over the wire (wire/residency-frame.ts) and into checkpoints: never renumber them. */
export const TIER = { device: 1, host: 2, disk: 4, store: 8 } as const;
export const ALL_TIERS = TIER.device | TIER.host | TIER.disk | TIER.store;
/** What the engine itself can't use at once. */
export const BELOW_DEVICE = ALL_TIERS & ~TIER.device;
