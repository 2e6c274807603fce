import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api.ts";
import { Bar } from "./bar.tsx";
import { freshTurn, messagesOf, runTurn, type Turn } from "./chat-turn.ts";
import { Markdown } from "./markdown.tsx";
import { count, time } from "./words.ts";

/** The models that the deployment serves; asked once. */
function useModels(apiKey: string): { models: string[]; message: string | null } {
  const [told, setTold] = useState<{ models: string[]; message: string | null }>({ models: [], message: null });
  useEffect(() => {
    void ask<{ data: { id: string }[] }>(apiKey, "/v1/models").then((asked) =>
      setTold(asked.ok ? { models: asked.value.data.map(({ id }) => id), message: null } : { models: [], message: asked.message }),
    );
  }, [apiKey]);
  return told;
}

/** Who served a turn, what was cached of its prompt, and how soon it spoke. */
function Served({ turn }: { turn: Turn }) {
  const { replica, predictedTokens, cachedTokens, promptTokens, ttftMs, coldMs } = turn;
  if (replica === null) return null;
  const really = cachedTokens === null ? "…" : `${count(cachedTokens)} of ${count(promptTokens ?? 0)} prompt tokens`;
  const cold = coldMs === null ? "" : `; cold about ${time(coldMs)}`;
  return (
    <dl class="served">
      <dt>replica</dt>
      <dd>{replica}</dd>
      <dt>cached</dt>
      <dd>
        {really} ({predictedTokens === null ? "not predicted" : `predicted ${count(predictedTokens)}`})
      </dd>
      <dt>first token</dt>
      <dd>
        {ttftMs === null ? "…" : `${time(ttftMs)}${cold}`}
        {ttftMs !== null && coldMs !== null && <Bar part={ttftMs} whole={coldMs} label={`${time(ttftMs)} of about ${time(coldMs)} cold`} />}
      </dd>
    </dl>
  );
}

function TurnShown({ turn }: { turn: Turn }) {
  return (
    <article class="turn" data-state={turn.state}>
      <p class="asked">{turn.asked}</p>
      <Markdown text={turn.answer} />
      {turn.state === "stopped" && <p class="quiet">Stopped.</p>}
      {turn.message !== null && (
        <p class="fault" role="alert">
          {turn.message}
        </p>
      )}
      <Served turn={turn} />
    </article>
  );
}

interface Conversation {
  turns: readonly Turn[];
  isRunning: boolean;
  send(model: string, asked: string): void;
  stop(): void;
  clear(): void;
}

/** @param ended called when a turn has ended. */
function useConversation(apiKey: string, ended: () => void): Conversation {
  const [turns, setTurns] = useState<Turn[]>([]);
  const [running, setRunning] = useState<AbortController | null>(null);
  useEffect(() => () => running?.abort(), [running]);
  const run = async (model: string, asked: string): Promise<void> => {
    const stopper = new AbortController();
    setRunning(stopper);
    setTurns([...turns, freshTurn(asked)]);
    const changed = (part: Partial<Turn>): void =>
      setTurns((now) => now.map((turn, index) => (index === turns.length ? { ...turn, ...part } : turn)));
    await runTurn(apiKey, model, messagesOf(turns, asked), changed, stopper.signal);
    setRunning(null);
    ended();
  };
  const send = (model: string, asked: string): void => void run(model, asked);
  return { turns, isRunning: running !== null, send, stop: () => running?.abort(), clear: () => setTurns([]) };
}

/** Where the next message is written, and to which model it goes. */
function Composer({ models, conversation }: { models: readonly string[]; conversation: Conversation }) {
  const [draft, setDraft] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const { isRunning, turns } = conversation;
  const model = chosen ?? models[0];
  const send = (event: Event): void => {
    event.preventDefault();
    if (draft.trim() === "" || isRunning || model === undefined) return;
    conversation.send(model, draft.trim());
    setDraft("");
  };
  return (
    <form onSubmit={send}>
      <textarea
        rows={3}
        aria-label="Message"
        placeholder="Ask something. Enter sends, Shift+Enter begins a new line."
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && send(event)}
      />
      <div class="row">
        <select aria-label="Model" value={model} onChange={(event) => setChosen(event.currentTarget.value)}>
          {models.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <button type="submit" disabled={isRunning || model === undefined}>
          Send
        </button>
        <button type="button" disabled={!isRunning} onClick={() => conversation.stop()}>
          Stop
        </button>
        <button type="button" disabled={isRunning || turns.length === 0} onClick={() => conversation.clear()}>
          New conversation
        </button>
      </div>
    </form>
  );
}

/** @param ended called when a turn has ended. */
export function Chat({ apiKey, ended }: { apiKey: string; ended: () => void }) {
  const { models, message } = useModels(apiKey);
  const conversation = useConversation(apiKey, ended);
  const { turns, isRunning } = conversation;
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => log.current?.lastElementChild?.scrollIntoView({ block: "nearest" }), [turns]);
  return (
    <section aria-labelledby="chat">
      <h2 id="chat">Chat</h2>
      {message !== null && <p class="fault">{message}</p>}
      <div ref={log} role="log" aria-live="polite" aria-busy={isRunning}>
        {turns.map((turn, index) => (
          <TurnShown key={index} turn={turn} />
        ))}
      </div>
      <Composer models={models} conversation={conversation} />
    </section>
  );
}
