/** Something over the time of a run, such as requests waiting: a line a policy. */
import { empty, figure, label } from "./markup.ts";
import { lookOf } from "./palette.ts";
import { digits, plain } from "./quantities.ts";
import { linearScale, spread } from "./scale.ts";

export interface Timeline {
  title: string;
  /** Of the values, such as "requests waiting". */
  unit: string;
  series: readonly { policy: string; points: readonly { atMs: number; value: number }[] }[];
}

const WIDTH = 900;
const LEAST_WIDTH = 760;
const LEFT = 56;
const RIGHT = 760;
const TOP = 22;
const BOTTOM = 240;
/** No line has more points: of each part of the time its highest value is kept. */
const MOST_POINTS = 500;

export function timelinePlot({ title, unit, series }: Timeline, id: string, ours: string): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  const lastMs = drawn.reduce((most, { points }) => Math.max(most, points.at(-1)?.atMs ?? 0), 1);
  const highest = drawn.map(({ points }) => points.reduce((most, { value }) => Math.max(most, value), 0));
  const x = linearScale(lastMs / 1_000, { from: LEFT, to: RIGHT });
  const y = linearScale(Math.max(...highest, 1), { from: BOTTOM, to: TOP });
  const grid = y.ticks.map((tick) => {
    const at = y.at(tick);
    return (
      empty("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: at, y2: at }) +
      label(plain(tick), { x: LEFT - 6, y: at + 4, "text-anchor": "end" })
    );
  });
  const axis = x.ticks.map((tick) => label(`${plain(tick)} s`, { x: x.at(tick), y: BOTTOM + 16, "text-anchor": "middle" }));
  const thinned = drawn.map(({ points }) => highestOfEach(points, lastMs));
  const places = spread(
    thinned.map((points) => y.at(points.at(-1)?.value ?? 0)),
    13,
    { from: TOP, to: BOTTOM },
  );
  const marks = drawn.map(({ policy }, index) => {
    const { colour, dash } = lookOf(policy, ours);
    const points = (thinned[index] ?? []).map(({ atMs, value }) => `${x.at(atMs / 1_000).toFixed(1)},${y.at(value).toFixed(1)}`).join(" ");
    const style = `stroke:var(--${colour});stroke-width:${policy === ours ? 2.5 : 1.2}`;
    const line = empty("polyline", { points, fill: "none", style, "stroke-dasharray": dash === "" ? "none" : dash });
    const at = places[index] ?? 0;
    const key = empty("line", { x1: RIGHT + 10, x2: RIGHT + 22, y1: at, y2: at, style, "stroke-dasharray": dash === "" ? "none" : dash });
    return line + key + label(policy, { class: policy === ours ? "ours" : "peer", x: RIGHT + 27, y: at + 4 });
  });
  const body = [label(unit, { x: LEFT, y: 12 }), ...grid, ...axis, ...marks].join("");
  const description = `${unit}, highest of each: ${drawn.map(({ policy }, index) => `${policy} ${digits(highest[index] ?? 0)}`).join(", ")}.`;
  return figure({ id, title, description, width: WIDTH, height: BOTTOM + 24, leastWidth: LEAST_WIDTH, body });
}

function highestOfEach(points: readonly { atMs: number; value: number }[], lastMs: number): { atMs: number; value: number }[] {
  if (points.length <= MOST_POINTS) return [...points];
  const kept: { atMs: number; value: number }[] = [];
  let part = -1;
  for (const point of points) {
    const own = Math.min(MOST_POINTS - 1, Math.floor((point.atMs / lastMs) * MOST_POINTS));
    const last = kept.at(-1);
    if (own !== part || last === undefined) kept.push({ ...point });
    else last.value = Math.max(last.value, point.value);
    part = own;
  }
  return kept;
}
