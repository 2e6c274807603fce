/** One measure against the load, a line a policy, on a logarithmic axis, each line named where it ends. */
import { empty, figure, label } from "./markup.ts";
import { lookOf } from "./palette.ts";
import { milliseconds, plain } from "./quantities.ts";
import { logScale, spread } from "./scale.ts";

export interface Line {
  policy: string;
  /** Rising by load. */
  points: readonly { load: number; value: number }[];
}

interface LinePlot {
  id: string;
  title: string;
  lines: readonly Line[];
  ours: string;
}

/** About a phone's: a picture that is scaled down has text that is too small. */
const WIDTH = 390;
const LEFT = 46;
const RIGHT = 266;
const LABELS = 282;
const TOP = 8;
const LABEL_GAP = 13;
const LEAST_HEIGHT = 190;

export function linePlot({ id, title, lines, ours }: LinePlot): string {
  const drawn = lines.filter(({ points }) => points.length > 0);
  const bottom = TOP + Math.max(LEAST_HEIGHT, drawn.length * LABEL_GAP);
  const loads = [...new Set(drawn.flatMap(({ points }) => points.map(({ load }) => load)))].toSorted((a, b) => a - b);
  const first = loads[0] ?? 0;
  const range = (loads.at(-1) ?? 1) - first;
  const x = (load: number): number => (range === 0 ? (LEFT + RIGHT) / 2 : LEFT + 12 + ((load - first) / range) * (RIGHT - LEFT - 24));
  const scale = logScale(
    drawn.flatMap(({ points }) => points.map(({ value }) => value)),
    { from: bottom, to: TOP },
  );

  const grid = scale.ticks.map((tick) => {
    const y = scale.at(tick);
    const line = empty("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y, y2: y });
    return line + label(tickText(tick), { x: LEFT - 6, y: y + 4, "text-anchor": "end" });
  });
  const axis = loads.map((load) => label(plain(load), { x: x(load), y: bottom + 16, "text-anchor": "middle" }));
  const ends = drawn.map(({ points }) => scale.at(points.at(-1)?.value ?? 0));
  const places = spread(ends, LABEL_GAP, { from: TOP + 2, to: bottom });
  // Ours last, over the others.
  const order = drawn
    .map((line, index) => ({ line, index }))
    .toSorted((a, b) => Number(a.line.policy === ours) - Number(b.line.policy === ours));
  const marks = order.map(({ line, index }) => markOf(line, ours, x, scale.at, places[index] ?? 0));
  const body = [
    ...grid,
    empty("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: bottom, y2: bottom }),
    ...axis,
    label("load", { x: LEFT - 6, y: bottom + 16, "text-anchor": "end" }),
    ...marks,
  ].join("");
  return figure({ id, title, description: describe(drawn, loads, ours), width: WIDTH, height: bottom + 22, body });
}

function markOf(line: Line, ours: string, x: (load: number) => number, y: (value: number) => number, labelY: number): string {
  const { colour, dash } = lookOf(line.policy, ours);
  const isOurs = line.policy === ours;
  const stroke = `stroke:var(--${colour})`;
  const at = line.points.map(({ load, value }) => ({ x: x(load), y: y(value) }));
  const end = at.at(-1);
  const path = empty("polyline", {
    points: at.map((point) => `${point.x.toFixed(1)},${point.y.toFixed(1)}`).join(" "),
    fill: "none",
    style: `${stroke};stroke-width:${isOurs ? 3.5 : 1.5}`,
    "stroke-dasharray": dash === "" ? "none" : dash,
    "stroke-linejoin": "round",
  });
  const dots = at.map((point) => empty("circle", { cx: point.x, cy: point.y, r: isOurs ? 4 : 2, style: `fill:var(--${colour})` }));
  if (end === undefined) return "";
  const leader = empty("polyline", {
    class: "leader",
    fill: "none",
    points: `${end.x + 4},${end.y.toFixed(1)} ${LABELS - 12},${labelY.toFixed(1)}`,
  });
  const key = empty("line", {
    x1: LABELS - 12,
    x2: LABELS - 2,
    y1: labelY,
    y2: labelY,
    style: `${stroke};stroke-width:${isOurs ? 3.5 : 2}`,
    "stroke-dasharray": dash === "" ? "none" : dash,
  });
  return leader + path + dots.join("") + key + label(line.policy, { class: isOurs ? "ours" : "peer", x: LABELS + 2, y: labelY + 4 });
}

function tickText(ms: number): string {
  return ms >= 1_000 ? `${ms / 1_000} s` : `${Number(ms.toPrecision(3))} ms`;
}

/** For each load: ours, the best peer and the worst. */
function describe(lines: readonly Line[], loads: readonly number[], ours: string): string {
  const said = loads.map((load) => {
    const values = lines
      .flatMap(({ policy, points }) => points.filter((point) => point.load === load).map(({ value }) => ({ policy, value })))
      .toSorted((a, b) => a.value - b.value);
    const own = values.find(({ policy }) => policy === ours);
    const peers = values.filter(({ policy }) => policy !== ours);
    const say = (row: { policy: string; value: number } | undefined): string =>
      row === undefined ? "" : `${row.policy} ${milliseconds(row.value)}`;
    return [`At load ${plain(load)}: ${say(own)}`, `lowest peer ${say(peers[0])}`, `highest ${say(peers.at(-1))}`].join("; ");
  });
  return `${said.join(". ")}. All numbers are in the tables below.`;
}
