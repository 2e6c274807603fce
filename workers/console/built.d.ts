/** What `tools/build-console.ts` makes of the page's folder, before wrangler bundles the edge. */
declare module "*/built/files.js" {
  /** By path. */
  export const FILES: Readonly<Record<string, { type: string; etag: string; text: string }>>;
}
