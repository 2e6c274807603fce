/**
 * JSON Schema's formats as patterns: each matches valid texts only, and the ones clients mean, not every one the standards allow (no leap
 * seconds, no years before 1000, no quoted e-mail names). Words that are no format of JSON Schema are annotations, as there.
 */
const month31 = "(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])";
const month30 = "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)";
const february = "02-(?:0[1-9]|1\\d|2[0-8])";
const leapYears = "(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|1[26]|[3579][26])00)";
const date = `(?:[1-9]\\d{3}-(?:${month31}|${month30}|${february})|${leapYears}-02-29)`;
const clock = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?";
const zone = "(?:Z|[+-](?:0\\d|1[0-4]):[0-5]\\d)";
// Eight labels stay below the 253 characters of a name.
const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,28}[A-Za-z0-9])?";
const hostname = `${label}(?:\\.${label}){0,7}`;
const byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const ipv4 = `${byte}(?:\\.${byte}){3}`;
const hextet = "[0-9A-Fa-f]{1,4}";
const ipv6 = `(?:(?:${hextet}:){7}${hextet}|:(?::${hextet}){1,7}|::|${Array.from(
  { length: 6 },
  (_, before) => `(?:${hextet}:){${before + 1}}(?::${hextet}){1,${6 - before}}`,
).join("|")}|(?:${hextet}:){1,7}:)`;
const atom = "[A-Za-z0-9_+-]{1,20}";
const email = `${atom}(?:\\.${atom}){0,2}@(?:[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){0,2}\\.){1,4}[A-Za-z]{2,10}`;
const amount = "\\d{1,6}";
const duration = `P(?!$)(?:${amount}Y)?(?:${amount}M)?(?:${amount}D)?(?:T(?=\\d)(?:${amount}H)?(?:${amount}M)?(?:${amount}S)?)?|P${amount}W`;
const path = "(?:/[A-Za-z0-9._~-]{1,32}){0,4}/?";
const host = "[a-z0-9]{1,20}(?:-[a-z0-9]{1,20})?(?:\\.[a-z0-9]{1,20}){0,2}";
const uri = `https?://${host}(?::[1-9]\\d{1,3})?${path}(?:\\?[A-Za-z0-9=&._~-]{1,48})?`;
const pointer = "(?:/[A-Za-z0-9._-]{1,32}){0,6}";

const patterns: Readonly<Record<string, string>> = {
  "date-time": `${date}T${clock}${zone}`,
  date,
  time: `${clock}${zone}`,
  duration,
  email,
  "idn-email": email,
  hostname,
  "idn-hostname": hostname,
  ipv4,
  ipv6,
  uuid: "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-8][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}",
  uri,
  iri: uri,
  "uri-reference": uri,
  "iri-reference": uri,
  "uri-template": uri,
  "json-pointer": pointer,
  "relative-json-pointer": `(?:0|[1-9]\\d{0,3})(?:#|${pointer})`,
  regex: "[A-Za-z0-9 _-]{0,64}",
};

/** The format as a pattern for the whole text; undefined for a word that is no format of JSON Schema. */
export function patternOfFormat(format: string): string | undefined {
  return Object.hasOwn(patterns, format) ? `^(?:${patterns[format] ?? ""})$` : undefined;
}
