import { useEffect, useRef, useState } from "preact/hooks";
import type { Asked } from "./api.ts";
import { Composer } from "./composer.tsx";
import { useConversation } from "./conversation.ts";
import { useRepeated } from "./repeated.ts";
import { TurnShown } from "./turn-shown.tsx";

const UNTIL_THERE_MS = 2_000;
const EVERY_MS = 30_000;
/** The page follows an answer while its end is at most this far below the window. */
const FOLLOWED_PX = 200;

interface Models {
  data: { id: string }[];
}

/** The models that the deployment serves; the last known ones while the edge does not answer. */
function useModels(apiKey: string): { models: readonly string[]; asked: Asked<Models> | null } {
  const [models, setModels] = useState<readonly string[]>([]);
  const asked = useRepeated<Models>(apiKey, "/v1/models", models.length === 0 ? UNTIL_THERE_MS : EVERY_MS);
  useEffect(() => {
    if (asked?.ok === true) setModels(asked.value.data.map(({ id }) => id));
  }, [asked]);
  return { models, asked };
}

function Fault({ asked }: { asked: Asked<Models> | null }) {
  if (asked?.ok === false) return <p class="fault">{asked.message}</p>;
  if (asked?.ok === true && asked.value.data.length === 0)
    return <p class="quiet">No model is ready yet. The page asks again every 2 s.</p>;
  return null;
}

/**
 * @param ended called when a turn has ended.
 * @param keyRefused called when the edge does not know the key.
 */
export function Chat({ apiKey, ended, keyRefused }: { apiKey: string; ended: () => void; keyRefused: () => void }) {
  const { models, asked } = useModels(apiKey);
  const isRefused = asked?.ok === false && asked.status === 401;
  useEffect(() => {
    if (isRefused) keyRefused();
  }, [isRefused]);
  const conversation = useConversation(apiKey, ended);
  const { turns, isRunning } = conversation;
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (turns.length > 0) end.current?.scrollIntoView({ block: "nearest" });
  }, [turns.length]);
  useEffect(() => {
    const bottom = end.current?.getBoundingClientRect().bottom ?? 0;
    if (isRunning && bottom < innerHeight + FOLLOWED_PX) end.current?.scrollIntoView({ block: "nearest" });
  }, [turns]);
  return (
    <section aria-labelledby="chat">
      <h2 id="chat">Chat</h2>
      <Fault asked={asked} />
      <div role="log" aria-live="polite" aria-busy={isRunning}>
        {turns.map((turn, index) => (
          <TurnShown key={index} turn={turn} />
        ))}
      </div>
      <div ref={end}>
        <Composer models={models} conversation={conversation} />
      </div>
    </section>
  );
}
