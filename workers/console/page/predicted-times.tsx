import type { PartKind } from "./bar-part.ts";
import { Bar } from "./bar.tsx";
import { PART_WORDS, type PicturedAttempt, timePicture } from "./time-bars.ts";
import { counted, time } from "./words.ts";

function Legend({ kinds }: { kinds: readonly PartKind[] }) {
  return (
    <ul class="legend quiet">
      {kinds.map((kind) => (
        <li key={kind}>
          <svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">
            <rect class={kind} width="1" height="1" />
          </svg>
          {PART_WORDS[kind]}
        </li>
      ))}
    </ul>
  );
}

/** The candidates' predicted times as bars of one scale, and when the first token really came. */
export function PredictedTimes({ attempt }: { attempt: PicturedAttempt }) {
  const { bars, left, measuredMs, wholeMs } = timePicture(attempt);
  if (bars.length === 0) return null;
  const kinds = [...new Set(bars.flatMap(({ parts }) => parts.map(({ kind }) => kind)))];
  return (
    <figure>
      <figcaption>Predicted time to the first token</figcaption>
      <dl class="times">
        {bars.map(({ name, ms, isChosen, barred, parts, words }) => [
          <dt key={name}>
            {name}
            {isChosen && <strong> chosen</strong>}
            {barred !== null && ` ${barred}`}
          </dt>,
          <dd key={`${name} takes`}>
            {time(ms)}
            <Bar parts={parts} whole={wholeMs} label={words} />
          </dd>,
        ])}
        {measuredMs !== null && [
          <dt key="measured">measured</dt>,
          <dd key="measured takes">
            {time(measuredMs)}
            <Bar parts={[{ size: measuredMs, kind: "other" }]} whole={wholeMs} label={`measured: ${time(measuredMs)}`} />
          </dd>,
        ]}
      </dl>
      <Legend kinds={kinds} />
      {left > 0 && <p class="quiet">Not shown: {counted(left, "replica")} with a longer time.</p>}
    </figure>
  );
}
