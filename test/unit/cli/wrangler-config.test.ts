import { join } from "node:path";
import { expect, it } from "vitest";
import { unstable_readConfig } from "wrangler";
import { parseWranglerConfig, wranglerConfig } from "../../../cli/wrangler-config.ts";

/** Its types are not seen by this program's settings. */
interface Read {
  compatibility_date: string;
  compatibility_flags: string[];
  durable_objects: { bindings: { name: string; class_name: string }[] };
  migrations: { deleted_classes?: string[] }[];
}

it("the launcher reads of wrangler.toml what wrangler reads", () => {
  const config = unstable_readConfig({ config: join(import.meta.dirname, "../../../wrangler.toml") }) as Read;
  expect(wranglerConfig()).toEqual({
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    objects: config.durable_objects.bindings.map(({ name, class_name: className }) => ({ binding: name, className })),
    deletedClasses: config.migrations.flatMap((migration) => migration.deleted_classes ?? []),
  });
  expect(wranglerConfig().objects).not.toEqual([]);
});

it("a line that the launcher does not understand is an error that names it", () => {
  expect(() => parseWranglerConfig('compatibility_date = "2026-08-01"\nlimits = { cpu_ms = 3 }')).toThrow("line 2 is not understood");
  expect(() => parseWranglerConfig('name = "x"')).toThrow("compatibility_date");
});

it("an object without a migration that makes it is an error", () => {
  const text = 'compatibility_date = "2026-08-01"\n[[durable_objects.bindings]]\nname = "POOL"\nclass_name = "PoolObject"';
  expect(() => parseWranglerConfig(text)).toThrow("no migration that makes PoolObject");
});
