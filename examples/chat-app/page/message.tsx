import { memo } from "react";
import Markdown from "react-markdown";
import remarkGfm from "remark-gfm";
import type { ChatMessage } from "../turn.ts";
import { textOf } from "./conversations.ts";

interface MessageProps {
  message: ChatMessage;
  /** Absent while an answer is written. */
  onEdit?: () => void;
  onRetry?: () => void;
}

export function Message({ message, onEdit, onRetry }: MessageProps) {
  if (message.role === "user") {
    return (
      <article className="asked">
        <p>{textOf(message)}</p>
        {onEdit && <button onClick={onEdit}>Edit</button>}
      </article>
    );
  }
  const reasoning = textOf(message, "reasoning");
  return (
    <article className="answer">
      {reasoning !== "" && (
        <details>
          <summary>Reasoning</summary>
          <p className="reasoning">{reasoning}</p>
        </details>
      )}
      <Text text={textOf(message)} />
      {message.metadata?.wasCut && (
        <p className="fault" role="alert">
          This answer took too long, and was cut. Press Retry.
        </p>
      )}
      <Served message={message} />
      {onRetry && <button onClick={onRetry}>Retry</button>}
    </article>
  );
}

/** HTML in an answer stays text, and links that run scripts lose their address. Images are named, not loaded. */
const Text = memo(({ text }: { text: string }) => (
  <Markdown remarkPlugins={[remarkGfm]} components={{ img: ({ alt }) => <em>{alt}</em>, a: Link }}>
    {text}
  </Markdown>
));

const Link = ({ href, children }: { href?: string; children?: React.ReactNode }) => (
  <a href={href} target="_blank" rel="noreferrer noopener">
    {children}
  </a>
);

/** Why this turn was fast or slow. */
function Served({ message: { metadata } }: { message: ChatMessage }) {
  if (metadata?.replica === undefined) return null;
  const { replica, promptTokens, cachedTokens = 0, firstTokenMs } = metadata;
  const facts = [
    replica,
    ...(promptTokens === undefined
      ? []
      : [`${cachedTokens.toLocaleString("en")} of ${promptTokens.toLocaleString("en")} prompt tokens cached`]),
    ...(firstTokenMs === undefined ? [] : [`first token after ${seconds(firstTokenMs)}`]),
  ];
  return <p className="served">{facts.join(" · ")}</p>;
}

const seconds = (ms: number): string => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`);
