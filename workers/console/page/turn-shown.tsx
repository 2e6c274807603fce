import { Bar } from "./bar.tsx";
import { APIS } from "./chat-api.ts";
import { MOST_OUTPUT_TOKENS, type Turn } from "./chat-turn.ts";
import { Markdown } from "./markdown.tsx";
import { count, time } from "./words.ts";

/** Below this the cold time is not worth a word. */
const LEAST_TIMES = 1.2;

/** The time to the first token beside the cold one: in words, and as two bars of one scale. */
function FirstToken({ ttftMs, coldMs }: { ttftMs: number | null; coldMs: number | null }) {
  if (ttftMs === null) return <>…</>;
  if (coldMs === null) return <>{time(ttftMs)}</>;
  const times = coldMs / ttftMs;
  const whole = Math.max(ttftMs, coldMs);
  return (
    <>
      {time(ttftMs)}; cold about {time(coldMs)}
      {times >= LEAST_TIMES && `, ${times < 10 ? times.toFixed(1) : count(Math.round(times))} times as long`}
      <Bar parts={[{ size: ttftMs, kind: "computes" }]} whole={whole} label={`this turn: ${time(ttftMs)}`} />
      <Bar parts={[{ size: coldMs, kind: "other" }]} whole={whole} label={`cold: about ${time(coldMs)}`} />
    </>
  );
}

function cachedInWords({ cachedTokens, promptTokens, predictedTokens, state }: Turn): string {
  const unknown = state === "running" ? "…" : "not reported";
  const really = cachedTokens === null ? unknown : `${count(cachedTokens)} of ${count(promptTokens ?? 0)} prompt tokens`;
  return `${really} (${predictedTokens === null ? "not predicted" : `predicted ${count(predictedTokens)}`})`;
}

/** Which replica served a turn, how much of its prompt was cached, and when its first token came. */
function Served({ turn }: { turn: Turn }) {
  if (turn.replica === null) return null;
  return (
    <dl class="served">
      <dt>replica</dt>
      <dd>{turn.replica}</dd>
      <dt>cached</dt>
      <dd>{cachedInWords(turn)}</dd>
      <dt>first token</dt>
      <dd>
        <FirstToken ttftMs={turn.ttftMs} coldMs={turn.coldMs} />
      </dd>
      <dt>API</dt>
      <dd>
        {APIS[turn.api].label}, {turn.model}
      </dd>
    </dl>
  );
}

const ENDS: Readonly<Partial<Record<Turn["state"], string>>> = {
  stopped: "Stopped.",
  cut: `The answer ends after ${MOST_OUTPUT_TOKENS} tokens, the most that this page asks for.`,
};

/** A longer question, such as a pasted text, is folded. */
const MOST_UNFOLDED = 600;
const SHOWN_OF_FOLDED = 200;

function Asked({ text }: { text: string }) {
  if (text.length <= MOST_UNFOLDED) return <p class="asked">{text}</p>;
  return (
    <details class="asked">
      <summary>
        {text.slice(0, SHOWN_OF_FOLDED)}… <span class="quiet">{count(text.length)} characters</span>
      </summary>
      {text}
    </details>
  );
}

export function TurnShown({ turn }: { turn: Turn }) {
  const end = turn.state === "done" && turn.answer === "" ? "The model answered nothing." : ENDS[turn.state];
  return (
    <article class="turn" data-state={turn.state}>
      <Asked text={turn.asked} />
      <Markdown text={turn.answer} />
      {end !== undefined && <p class="quiet">{end}</p>}
      {turn.message !== null && (
        <p class="fault" role="alert">
          {turn.message}
        </p>
      )}
      <Served turn={turn} />
    </article>
  );
}
