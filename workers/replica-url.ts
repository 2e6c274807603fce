/** Which URLs a replica may name as its own. The edge sends prompts there, from where it stands in the network. */

/** public: https with a name that is no local one. private: also plain http, addresses and local names. */
export type ReplicaAddresses = "public" | "private";

/** Names that are meant for one machine, link or site (RFC 6761, 6762, 8375, and .internal, which ICANN keeps for private use). */
const LOCAL_NAME = /(^|\.)(localhost|local|internal|home\.arpa)$/;
/** IPv4 as a URL's host is always written: four decimal numbers. */
const IPV4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/;
/** IPv4 within IPv6: mapped (RFC 4291), or behind NAT64 (RFC 6052). */
const IPV4_IN_IPV6 = /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;
/** Hosts of machines' metadata, which hand out credentials; those with link-local addresses are refused as such. */
const METADATA = new Set(["metadata.google.internal", "metadata.goog", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"]);

/** Without a slash at its end: paths are put behind it. */
export function replicaUrl(text: string): string {
  return text.replace(/\/+$/, "");
}

/** Why this is no URL for a replica, as a sentence; null when it is one. Shape: an absolute http: or https: URL. */
export function replicaUrlProblem(text: string, addresses: ReplicaAddresses): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) return "A replica's URL begins with http:// or https://.";
  if (url.username !== "" || url.password !== "") return "A replica's URL has no user name and no password in it.";
  if (/[?#]/.test(text)) return "A replica's URL has no query and no fragment: paths are put behind it.";
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (METADATA.has(host) || isNobodys(host)) return `${host} can't be a replica's address.`;
  if (addresses === "private") return null;
  const only = "This deployment takes replicas at public addresses only (WARMPATH_REPLICA_ADDRESSES)";
  if (url.protocol !== "https:") return `${only}: their URLs begin with https://.`;
  if (IPV4.test(host) || host.includes(":")) return `${only}: their URLs have a name, not an IP address.`;
  if (!host.includes(".") || LOCAL_NAME.test(host)) return `${only}: ${host} is a local name.`;
  return null;
}

/** Unspecified, link-local (metadata services live there), multicast and reserved addresses. */
function isNobodys(host: string): boolean {
  const [, high = "", low = ""] = IPV4_IN_IPV6.exec(host) ?? [];
  if (high !== "") {
    const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
    const inner = [a >> 8, a & 255, b >> 8, b & 255].join(".");
    return METADATA.has(inner) || isNobodys(inner);
  }
  if (host.includes(":")) return host === "::" || /^(fe[89ab]|ff)/.test(host);
  const bytes = IPV4.exec(host)?.slice(1).map(Number);
  if (bytes === undefined) return false;
  const [first = 0, second = 0] = bytes;
  return first === 0 || (first === 169 && second === 254) || first >= 224;
}
