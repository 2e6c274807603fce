import { type FormEvent, type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import type { ChatMessage } from "../turn.ts";
import { textOf } from "./conversations.ts";

interface ComposerProps {
  /** A message of before that is written anew. */
  edited: ChatMessage | null;
  isFull: boolean;
  onSend: (text: string) => void;
  /** Null: nothing runs. */
  onStop: (() => void) | null;
  children: ReactNode;
}

/** Where the next message is written. */
export function Composer({ edited, isFull, onSend, onStop, children }: ComposerProps) {
  const [draft, setDraft] = useState(edited === null ? "" : textOf(edited));
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (edited !== null) field.current?.focus();
  }, [edited]);
  const send = (event: FormEvent): void => {
    event.preventDefault();
    const text = draft.trim();
    if (text === "" || isFull || onStop !== null) return;
    onSend(text);
    setDraft("");
  };
  return (
    <form onSubmit={send}>
      <textarea
        ref={field}
        rows={3}
        aria-label={edited === null ? "Message" : "Edited message"}
        placeholder="Enter sends, Shift+Enter begins a new line."
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event: KeyboardEvent) => event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing && send(event)}
      />
      <div className="row">
        {children}
        {onStop !== null ? (
          <button type="button" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button type="submit" disabled={isFull}>
            {edited === null ? "Send" : "Send again"}
          </button>
        )}
      </div>
    </form>
  );
}
