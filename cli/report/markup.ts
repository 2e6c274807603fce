/** Text into HTML and SVG. */

/** Safe inside an element and inside a quoted attribute. */
export function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

/** Attributes in order; numbers to a tenth of a pixel. */
function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${typeof value === "number" ? String(Math.round(value * 10) / 10) : escapeText(value)}"`)
    .join("");
}

/** An element with nothing in it. */
export function empty(name: string, values: Readonly<Record<string, string | number>>): string {
  return `<${name}${attributes(values)}/>`;
}

export function label(text: string, values: Readonly<Record<string, string | number>>): string {
  return `<text${attributes(values)}>${escapeText(text)}</text>`;
}

interface Picture {
  /** Unique on the page: its title and description are found by it. */
  id: string;
  title: string;
  /** What the picture shows, in words and numbers. */
  description: string;
  width: number;
  height: number;
  /** It is never drawn narrower than this, and scrolls by itself instead: its text would be too small. */
  leastWidth?: number;
  body: string;
}

/** A figure whose picture scales with the page and is read out as its title and description. */
export function figure({ id, title, description, width, height, leastWidth, body }: Picture): string {
  const names = `<title id="${id}-title">${escapeText(title)}</title><desc id="${id}-desc">${escapeText(description)}</desc>`;
  const box = attributes({ viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id}-title ${id}-desc` });
  const least = leastWidth === undefined ? "" : `;min-width:${leastWidth}px`;
  const svg = `<svg${box} style="max-width:${width}px${least}">${names}${body}</svg>`;
  return `<figure><figcaption>${escapeText(title)}</figcaption>${leastWidth === undefined ? svg : scrolled(title, svg)}</figure>`;
}

/** What is wider than the page scrolls by itself, by the keyboard too. */
function scrolled(name: string, body: string): string {
  return `<div class="scroll" role="group" aria-label="${escapeText(name)}" tabindex="0">${body}</div>`;
}

interface TableText {
  caption: string;
  head: readonly string[];
  /** Cells as markup; the first one of a row is its heading. */
  rows: readonly { cells: readonly string[]; emphasised?: boolean }[];
}

/** A table that scrolls by itself where the page is narrow. `head` and `caption` are text, cells are markup. */
export function table({ caption, head, rows }: TableText): string {
  const headings = head.map((text) => `<th scope="col">${escapeText(text)}</th>`).join("");
  const body = rows.map(({ cells, emphasised }) => {
    const [first, ...rest] = cells;
    const row = `<th scope="row">${first ?? ""}</th>${rest.map((cell) => (cell.startsWith("<td") ? cell : `<td>${cell}</td>`)).join("")}`;
    return `<tr${emphasised === true ? ' class="ours"' : ""}>${row}</tr>`;
  });
  const rowsOf = `<thead><tr>${headings}</tr></thead><tbody>${body.join("\n")}</tbody>`;
  return scrolled(caption, `<table><caption>${escapeText(caption)}</caption>${rowsOf}</table>`);
}

/** For an id: lower-case letters, digits and dashes. */
export function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}
