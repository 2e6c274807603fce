import { useRef, useState } from "preact/hooks";
import { API_NAMES, type ApiName, APIS } from "./chat-api.ts";
import type { Conversation } from "./conversation.ts";

const MOST_DRAFT_CHARACTERS = 100_000;

/** The switch between the three APIs. The same conversation is the same prefix through each, so a turn through another one is warm, too. */
function ApiSwitch({ api, changed }: { api: ApiName; changed: (api: ApiName) => void }) {
  return (
    <fieldset class="row">
      <legend>API</legend>
      {API_NAMES.map((name) => (
        <label key={name}>
          <input type="radio" name="api" checked={name === api} onChange={() => changed(name)} />
          {APIS[name].label}
        </label>
      ))}
    </fieldset>
  );
}

/** @param back puts the keyboard back at the message: a button that gets disabled would lose its place. */
function Buttons({ conversation, isReady, back }: { conversation: Conversation; isReady: boolean; back: () => void }) {
  const { isRunning, turns, stop, clear } = conversation;
  const stopped = (): void => {
    stop();
    back();
  };
  const cleared = (): void => {
    clear();
    back();
  };
  return (
    <>
      <button type="submit" disabled={!isReady}>
        Send
      </button>
      <button type="button" disabled={!isRunning} onClick={stopped}>
        Stop
      </button>
      <button type="button" disabled={isRunning || turns.length === 0} onClick={cleared}>
        New conversation
      </button>
    </>
  );
}

/** Where the next message is written, and to which model and through which API it goes. */
export function Composer({ models, conversation }: { models: readonly string[]; conversation: Conversation }) {
  const { isRunning, isFull, turns } = conversation;
  const [draft, setDraft] = useState("");
  const [chosenModel, setModel] = useState(turns.at(-1)?.model ?? null);
  const [api, setApi] = useState<ApiName>(turns.at(-1)?.api ?? "chat");
  const message = useRef<HTMLTextAreaElement>(null);
  const model = models.find((each) => each === chosenModel) ?? models[0];
  const isReady = !isRunning && !isFull && model !== undefined;
  const back = (): void => message.current?.focus();
  const send = (event: Event): void => {
    event.preventDefault();
    if (draft.trim() === "" || !isReady) return;
    conversation.send(draft.trim(), api, model);
    setDraft("");
    back();
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
    if (event.key === "Escape" && isRunning) conversation.stop();
  };
  return (
    <form onSubmit={send}>
      {isFull && <p class="quiet">This conversation is full. Begin a new one.</p>}
      <textarea
        ref={message}
        rows={3}
        maxLength={MOST_DRAFT_CHARACTERS}
        aria-label="Message"
        placeholder="Ask something. Enter sends, Shift+Enter begins a new line, Escape stops the answer."
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={pressed}
      />
      <ApiSwitch api={api} changed={setApi} />
      <div class="row">
        <select aria-label="Model" value={model} onChange={(event) => setModel(event.currentTarget.value)}>
          {models.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <Buttons conversation={conversation} isReady={isReady} back={back} />
      </div>
    </form>
  );
}
