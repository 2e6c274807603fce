/** An answer's markdown as elements. Nothing that a model writes becomes a script, a style, an image or a form. */
import DOMPurify from "dompurify";
import { Marked } from "marked";

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

export function Markdown({ text }: { text: string }) {
  const html = marked.parse(text, { async: false });
  // A trusted type, since the page's policy lets no string become HTML. Preact types it as a string and passes it on as it is.
  const clean = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: [...TAGS, ...HEADINGS],
    ALLOWED_ATTR: ["href", "start"],
    RETURN_TRUSTED_TYPE: true,
  });
  return <div dangerouslySetInnerHTML={{ __html: clean as unknown as string }} />;
}
