declare namespace Cloudflare {
  interface Env extends Pick<import("../../workers/env.ts").Env, keyof import("../../workers/env.ts").Env> {}
  interface GlobalProps {
    mainModule: typeof import("../../workers/router.ts");
  }
}
