import type { PoolRoster, RosterReplica } from "../../../src/router/roster.ts";
import { Bar } from "./bar.tsx";
import { useRepeated } from "./repeated.ts";
import { count, counted, time } from "./words.ts";

const EVERY_MS = 2_000;

type Listed = { pool: string } & (PoolRoster | { error: string });

function Replica({ replica }: { replica: RosterReplica }) {
  const { name, state, leftOut, inFlight, sequences, queuedMs, tiers } = replica;
  return (
    <li>
      <strong>{name}</strong>{" "}
      <span class="quiet">
        {leftOut ? "left out for now" : state}; {counted(inFlight, "request")}, at most {count(sequences)} at once
        {queuedMs > 0 && `; ${time(queuedMs)} of prefill in its queue`}
      </span>
      <dl>
        {tiers.map(({ tier, usedTokens, roomTokens }) => {
          const words = `${count(usedTokens)} of ${count(roomTokens)} tokens`;
          return [
            <dt key={tier}>{tier}</dt>,
            <dd key={`${tier} holds`}>
              {words}
              <Bar parts={[{ size: usedTokens, kind: "computes" }]} whole={roomTokens} label={`${tier}: ${words}`} />
            </dd>,
          ];
        })}
      </dl>
    </li>
  );
}

function Pool({ listed }: { listed: Listed }) {
  if ("error" in listed) return <p class="fault">{`Pool ${listed.pool} ${listed.error}.`}</p>;
  return (
    <div>
      <h3>
        {listed.pool}{" "}
        <span class="quiet">
          {listed.model ?? "no model yet"}; {count(listed.waiting)} waiting in line
        </span>
      </h3>
      {listed.replicas.length === 0 && <p class="quiet">No replica has joined.</p>}
      <ul class="plain">
        {listed.replicas.map((replica) => (
          <Replica key={replica.name} replica={replica} />
        ))}
      </ul>
    </div>
  );
}

export function Replicas({ apiKey }: { apiKey: string }) {
  const asked = useRepeated<{ data: Listed[] }>(apiKey, "/v1/replicas", EVERY_MS);
  return (
    <section aria-labelledby="replicas">
      <h2 id="replicas">Replicas</h2>
      {asked?.ok === false && <p class="fault">{asked.message}</p>}
      {asked?.ok === true && asked.value.data.map((listed) => <Pool key={listed.pool} listed={listed} />)}
    </section>
  );
}
