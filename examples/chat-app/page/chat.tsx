import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type ChatMessage, MOST_MESSAGES } from "../turn.ts";
import { Composer } from "./composer.tsx";
import { type Conversation, textOf } from "./conversations.ts";
import { Message } from "./message.tsx";

interface ChatProps {
  conversation: Conversation;
  models: readonly string[];
  /** Called when a turn has ended, and when another model is chosen. */
  onChange: (conversation: Conversation) => void;
}

/** Only what the model needs goes out: texts, without reasoning, and no answer that was stopped before its first word. */
const sent = (messages: readonly ChatMessage[]) =>
  messages
    .map((message) => ({ id: message.id, role: message.role, parts: [{ type: "text", text: textOf(message) }] }))
    .filter(({ parts: [part] }) => part?.text !== "");

const transport = new DefaultChatTransport<ChatMessage>({
  api: "/api/chat",
  prepareSendMessagesRequest: ({ id, messages, body }) => ({ body: { ...body, id, messages: sent(messages) } }),
});

export function Chat({ conversation, models, onChange }: ChatProps) {
  const [editing, setEditing] = useState<ChatMessage | null>(null);
  const { messages, status, error, sendMessage, regenerate, setMessages, stop } = useChat<ChatMessage>({
    id: conversation.id,
    messages: conversation.messages,
    transport,
    // A fast model writes more words a second than a browser can lay out.
    throttle: 50,
  });
  const isRunning = status === "submitted" || status === "streaming";
  const { turnBegins, firstTokenMs } = useFirstToken(messages);
  useEffect(() => {
    if (isRunning || messages.length === 0) return;
    const timed = withFirstToken(messages, firstTokenMs);
    if (timed !== messages) setMessages(timed);
    else onChange({ ...conversation, messages });
  }, [isRunning, messages, firstTokenMs]);

  const body = { model: conversation.model };
  const send = (text: string): void => {
    turnBegins();
    void sendMessage(editing === null ? { text } : { text, messageId: editing.id }, { body });
    setEditing(null);
  };
  const retry = (): void => {
    turnBegins();
    void regenerate({ body });
  };
  const isFull = messages.length >= MOST_MESSAGES - 1;
  return (
    <main>
      <Turns messages={messages} isRunning={isRunning} onEdit={setEditing} onRetry={retry}>
        {status === "submitted" && <p className="quiet">…</p>}
        {error && (
          <p className="fault" role="alert">
            {wordsOf(error)} <button onClick={retry}>Retry</button>
          </p>
        )}
        {isFull && <p className="quiet">This conversation is full. Begin a new one.</p>}
      </Turns>
      <Composer
        key={editing?.id}
        edited={editing}
        isFull={isFull || models.length === 0}
        onSend={send}
        onStop={isRunning ? () => void stop() : null}
      >
        <select
          aria-label="Model"
          value={conversation.model}
          onChange={(event) => onChange({ ...conversation, messages, model: event.target.value })}
        >
          {models.map((model) => (
            <option key={model}>{model}</option>
          ))}
        </select>
      </Composer>
    </main>
  );
}

interface TurnsProps {
  messages: readonly ChatMessage[];
  isRunning: boolean;
  onEdit: (message: ChatMessage) => void;
  onRetry: () => void;
  children: ReactNode;
}

function Turns({ messages, isRunning, onEdit, onRetry, children }: TurnsProps) {
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [messages]);
  const buttonsOf = (message: ChatMessage, isLast: boolean): { onEdit?: () => void; onRetry?: () => void } => {
    if (isRunning) return {};
    if (message.role === "user") return { onEdit: () => onEdit(message) };
    return isLast ? { onRetry } : {};
  };
  return (
    <div ref={log} role="log" aria-label="Conversation" aria-busy={isRunning}>
      {messages.map((message, index) => (
        <Message key={message.id} message={message} {...buttonsOf(message, index === messages.length - 1)} />
      ))}
      {children}
    </div>
  );
}

/** How long the first word of the running or last turn took, in this browser. `turnBegins` is called when one is sent. */
function useFirstToken(messages: readonly ChatMessage[]): { turnBegins: () => void; firstTokenMs: number | null } {
  const begunMs = useRef<number | null>(null);
  const [firstTokenMs, setFirstTokenMs] = useState<number | null>(null);
  const last = messages.at(-1);
  const speaks = last?.role === "assistant" && textOf(last) + textOf(last, "reasoning") !== "";
  useEffect(() => {
    if (!speaks || begunMs.current === null) return;
    setFirstTokenMs(performance.now() - begunMs.current);
    begunMs.current = null;
  }, [speaks, last?.id]);
  const turnBegins = (): void => {
    begunMs.current = performance.now();
    setFirstTokenMs(null);
  };
  return { turnBegins, firstTokenMs };
}

/** The last answer's time is kept with it, once. */
function withFirstToken(messages: ChatMessage[], firstTokenMs: number | null): ChatMessage[] {
  const last = messages.at(-1);
  if (firstTokenMs === null || last?.role !== "assistant" || last.metadata?.firstTokenMs !== undefined) return messages;
  return [...messages.slice(0, -1), { ...last, metadata: { ...last.metadata, firstTokenMs } }];
}

/** The Worker's refusals have a sentence for people; what failed on the way has not. */
function wordsOf({ message }: Error): string {
  try {
    const said = JSON.parse(message) as { message?: unknown };
    if (typeof said.message === "string") return said.message;
  } catch {
    // No refusal of the Worker's.
  }
  return /fetch|network/i.test(message) ? "This app can't be reached. Check your connection." : message;
}
