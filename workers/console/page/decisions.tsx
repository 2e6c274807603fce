import { useEffect, useState } from "preact/hooks";
import { ask, type Asked } from "./api.ts";
import { PredictedTimes } from "./predicted-times.tsx";
import type { PicturedAttempt } from "./time-bars.ts";
import { useRepeated } from "./repeated.ts";

const SHOWN = 8;
const EVERY_MS = 5_000;

interface Listed {
  id: string;
  attempt: number;
  decision: { reason: string };
  outcome: { ended: string | null };
}

interface DecisionBody {
  attempts: (PicturedAttempt & { attempt: number; why: string })[];
}

/** One attempt in words and as a picture, asked for when it is opened and again when the request has ended. */
function Attempt({ apiKey, listed }: { apiKey: string; listed: Listed }) {
  const [asked, setAsked] = useState<Asked<DecisionBody> | null>(null);
  const { id, attempt, outcome } = listed;
  useEffect(() => {
    let isOver = false;
    void ask<DecisionBody>(apiKey, `/v1/decisions/${encodeURIComponent(id)}`).then((answer) => {
      if (!isOver) setAsked(answer);
    });
    return () => {
      isOver = true;
    };
  }, [apiKey, id, attempt, outcome.ended]);
  if (asked === null) return <p>…</p>;
  if (!asked.ok) return <p class="fault">{asked.message}</p>;
  const found = asked.value.attempts.find((each) => each.attempt === attempt);
  if (found === undefined) return <p class="quiet">This decision is no longer kept.</p>;
  return (
    <>
      <PredictedTimes attempt={found} />
      <p class="why">{found.why}</p>
    </>
  );
}

function Decision({ apiKey, listed, isFirst }: { apiKey: string; listed: Listed; isFirst: boolean }) {
  const [isOpen, setOpen] = useState(isFirst);
  useEffect(() => setOpen(isFirst), [isFirst]);
  return (
    <li>
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          {listed.decision.reason} <span class="quiet">{listed.outcome.ended ?? "running"}</span>
        </summary>
        {isOpen && <Attempt apiKey={apiKey} listed={listed} />}
        <p class="quiet">{listed.id}</p>
      </details>
    </li>
  );
}

/** @param round changes when a turn of the chat has ended. */
export function Decisions({ apiKey, round }: { apiKey: string; round: number }) {
  const asked = useRepeated<{ data: Listed[] }>(apiKey, `/v1/decisions?limit=${SHOWN}`, EVERY_MS, round);
  const newestFirst = asked?.ok === true ? asked.value.data.toReversed() : [];
  return (
    <section aria-labelledby="decisions">
      <h2 id="decisions">Last decisions</h2>
      {asked?.ok === false && <p class="fault">{asked.message}</p>}
      {asked?.ok === true && newestFirst.length === 0 && <p class="quiet">None yet.</p>}
      <ul class="plain">
        {newestFirst.map((listed, index) => (
          <Decision key={`${listed.id} ${listed.attempt}`} apiKey={apiKey} listed={listed} isFirst={index === 0} />
        ))}
      </ul>
    </section>
  );
}
