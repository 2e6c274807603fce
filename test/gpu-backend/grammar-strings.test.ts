/** Patterns and formats against llama.cpp's own reading of the grammar; the judges are JavaScript's RegExp, zod and Node. */
import { isIPv4, isIPv6 } from "node:net";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { grammarJudges } from "./grammar-made.ts";

const { made, answers } = grammarJudges();

describe("a pattern matches what JavaScript matches", () => {
  const texts = [
    ..."a b ab abc ABC ABCD abcabc aab xaby foo.bar foo..bar .foo /etc a/b / é ключ 🙂 a-b a_b 1 12 123 1234 -1 007 2024-02-30".split(" "),
    ..."Ab1 Abcdef1! user@example.com user@@example.com a.b@c.de A1b2 aXb a]b a^b $5 x{2} () [x] aaaa aaaaa".split(" "),
  ].concat("", "a b", "a\nb", 'say "hi"', "back\\slash", "tab\there", "\u00a0");
  const patterns = [
    ..."^[A-Z]{3}$ ^/ / a b$ ^a|b$ ^(a|b)+$ ^(?:ab)*$ ^(?<name>abc){1,2}$ ^[^a-z]*$ ^\\d+$ ^-?\\d{1,3}$ ^\\w+$ \\W \\s ^\\S*$ ^.$ ^.{2,3}$".split(
      " ",
    ),
    ..."^a*?b$ ^a{2,}b?$ ^[\\w.-]+$ ^[-a-z]+$ ^[a\\]b]+$ ^[\\^a]+$ ^\\$\\d$ ^x\\{2\\}$ x{2} ^\\(\\)$ ^\\u0061$ ^\\x61b$ ^\\p{L}+$ ^\\p{Lu}".split(
      " ",
    ),
    ...'^\\P{L}+$ ^(?=.*[A-Z])(?=.*\\d).{3,}$ ^(?!.*\\.\\.)[a-z.]+$ ^(?!\\.)\\S+$ ^(a(?=b)|b){1,3}$ (?=a)ab ^$ ^ $ ^a$|^b$ ^((a|b)?c?)*$ \\\\ ^[^\\\\"]*$'.split(
      " ",
    ),
    "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
    "^say [\"']hi[\"']$",
  ];
  for (const pattern of patterns) {
    it(pattern, () => {
      const grammar = made({ type: "string", pattern });
      const judge = new RegExp(pattern, "u");
      for (const text of texts) expect(grammar.isTextCompatible(JSON.stringify(text)), text).toBe(judge.test(text));
    });
  }

  it("with lengths", () => {
    const grammar = made({ type: "string", pattern: "^[a-z]*$", minLength: 2, maxLength: 4 });
    expect(["a", "ab", "abcd", "abcde", "aB"].map((text) => grammar.isTextCompatible(JSON.stringify(text)))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
    expect(
      compileGrammar({ type: "json_schema", schema: { type: "string", pattern: "^a{3}$", maxLength: 2 }, strict: true }, "wide"),
    ).toMatchObject({
      type: "unsupported",
    });
  });
});

describe("what the model writes passes the client's own check", () => {
  const iso = z.iso;
  const kinds: Record<string, z.ZodType> = {
    "three capitals": z.string().regex(/^[A-Z]{3}$/),
    "a path": z.string().regex(/^\//),
    "a password": z.string().regex(/^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,12}$/),
    email: z.email(),
    uuid: z.uuid(),
    "uuid of version 4": z.uuidv4(),
    "date and time": iso.datetime(),
    "date and time with an offset": iso.datetime({ offset: true }),
    date: iso.date(),
    time: iso.time(),
    duration: iso.duration(),
    ipv4: z.ipv4(),
    ipv6: z.ipv6(),
    url: z.url(),
    base64: z.base64(),
    "short text": z.string().min(1).max(5),
    "text that starts so": z.string().startsWith("ab").max(9),
    integers: z.int().multipleOf(7).min(-100).max(1000),
    "any integer": z.int(),
    "a number": z.number().min(0.2).max(0.3),
  };
  for (const [name, kind] of Object.entries(kinds)) {
    it(name, async () => {
      const object = z.strictObject({ value: kind });
      for (const value of await answers(z.toJSONSchema(object))) object.parse(value);
    });
  }

  const zone = /(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
  const judges: Record<string, (text: string) => boolean> = {
    "date-time": (text) => zone.test(text) && new Date(text).toISOString() !== "",
    date: (text) => new Date(`${text}T00:00:00Z`).toISOString().startsWith(text),
    time: (text) => zone.test(text) && !Number.isNaN(Date.parse(`2024-01-01T${text}`)),
    duration: (text) => /^P(?=\d|T\d)(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?$|^P\d+W$/.test(text),
    email: (text) => z.email().safeParse(text).success,
    hostname: (text) => text.length <= 253 && text.split(".").every((label) => /^(?!-)[\dA-Za-z-]{1,63}(?<!-)$/.test(label)),
    ipv4: isIPv4,
    ipv6: isIPv6,
    uuid: (text) => z.uuid().safeParse(text).success,
    uri: (text) => URL.canParse(text),
  };
  for (const [format, judge] of Object.entries(judges)) {
    it(`format ${format}`, async () => {
      for (const value of await answers({ type: "string", format })) expect(judge(value as string), String(value)).toBe(true);
    });
  }
});

describe("formats take what is valid, and nothing else", () => {
  const cases: Record<string, [valid: string[], invalid: string[]]> = {
    "date-time": [
      ["2024-02-29T23:59:59Z", "2026-11-30T21:22:11.123+05:30", "2000-02-29T00:00:00Z"],
      [
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-04-31T00:00:00Z",
      ],
    ],
    time: [
      ["00:00:00Z", "23:59:59.5-08:00"],
      ["24:00:00Z", "12:00Z", "12:00:00"],
    ],
    date: [
      ["2024-12-31", "2024-02-29"],
      ["2024-02-30", "24-02-03", "2024-1-1"],
    ],
    duration: [
      ["P1Y2M3DT4H5M6S", "PT5M", "P2W", "P1D"],
      ["P", "PT", "P1S", "1D", "P1W1D"],
    ],
    email: [["a.b+c@mail-1.example.org"], ["a@b", "@b.co", "a..b@c.de", "a b@c.de", "a@-b.de"]],
    hostname: [
      ["localhost", "a-b.example.com"],
      ["-a", "a-", "a..b", ".", "a_b"],
    ],
    ipv4: [
      ["0.0.0.0", "255.255.255.255"],
      ["256.1.1.1", "1.2.3", "01.2.3.4"],
    ],
    ipv6: [
      ["::", "::1", "1::", "fe80::1:2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8"],
      ["1:2:3:4:5:6:7", "1::2::3", "12345::", ":::", "1:2:3:4:5:6:7:8:9"],
    ],
    uuid: [["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "123e4567-e89b-92d3-a456-426614174000"]],
  };
  for (const [format, [valid, invalid]] of Object.entries(cases)) {
    it(format, () => {
      const grammar = made({ type: "string", format });
      for (const text of valid) expect(grammar.isTextCompatible(JSON.stringify(text)), text).toBe(true);
      for (const text of invalid) expect(grammar.isTextCompatible(JSON.stringify(text)), text).toBe(false);
    });
  }

  it("words that are no format of JSON Schema are annotations", () => {
    expect(made({ type: "string", format: "int32" }).isTextCompatible('"any text"')).toBe(true);
    expect(made({ type: "integer", format: "int64" }).isTextCompatible("5")).toBe(true);
  });
});
