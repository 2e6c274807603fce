import { useEffect, useState } from "preact/hooks";
import { ask } from "./api.ts";
import { useRepeated } from "./repeated.ts";

const SHOWN = 8;
const EVERY_MS = 5_000;

interface Listed {
  id: string;
  attempt: number;
  decision: { reason: string };
  outcome: { ended: string | null };
}

interface Told {
  attempts: { attempt: number; why: string }[];
}

/** The paragraph of one attempt, asked for when it is opened and again when the request has ended. */
function Paragraph({ apiKey, listed }: { apiKey: string; listed: Listed }) {
  const [why, setWhy] = useState("…");
  const { id, attempt, outcome } = listed;
  useEffect(() => {
    let isOver = false;
    void ask<Told>(apiKey, `/v1/decisions/${encodeURIComponent(id)}`).then((asked) => {
      if (isOver) return;
      setWhy(asked.ok ? (asked.value.attempts.find((each) => each.attempt === attempt)?.why ?? "It is no longer kept.") : asked.message);
    });
    return () => {
      isOver = true;
    };
  }, [apiKey, id, attempt, outcome.ended]);
  return <p>{why}</p>;
}

function Decision({ apiKey, listed, isFirst }: { apiKey: string; listed: Listed; isFirst: boolean }) {
  const [isOpen, setOpen] = useState(isFirst);
  useEffect(() => setOpen(isFirst), [isFirst]);
  return (
    <li>
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          {listed.decision.reason} <span class="quiet">{listed.outcome.ended ?? "runs"}</span>
        </summary>
        {isOpen && <Paragraph apiKey={apiKey} listed={listed} />}
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
