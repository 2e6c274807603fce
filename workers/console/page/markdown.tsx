/** An answer's markdown as elements. Nothing that a model writes becomes a script, a style, an image or a form. */
import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useMemo } from "preact/hooks";

const escaped = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** HTML in an answer is shown as it is written, and an image by its description. */
const marked = new Marked({
  async: false,
  gfm: true,
  breaks: true,
  renderer: { html: ({ text }) => escaped(text), image: ({ text }) => escaped(text) },
});

const TAGS = ["p", "br", "hr", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "a"];
const HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"];

const cleaned = (text: string) =>
  DOMPurify.sanitize(marked.parse(text, { async: false }), {
    ALLOWED_TAGS: [...TAGS, ...HEADINGS],
    ALLOWED_ATTR: ["href", "start"],
    RETURN_TRUSTED_TYPE: true,
  });

export function Markdown({ text }: { text: string }) {
  // Each token of the last turn draws all turns again: only one whose text has changed is parsed.
  const clean = useMemo(() => cleaned(text), [text]);
  // A trusted type, since the page's policy lets no string become HTML. Preact types it as a string and passes it on as it is.
  return <div dangerouslySetInnerHTML={{ __html: clean as unknown as string }} />;
}
