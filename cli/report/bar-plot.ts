/** A bar a policy, longest first, each with its name and value. */
import { empty, figure, label } from "./markup.ts";
import { lookOf } from "./palette.ts";
import { linearScale } from "./scale.ts";

interface BarPlot {
  id: string;
  title: string;
  bars: readonly { policy: string; value: number }[];
  ours: string;
  /** What nobody can exceed: a line across. */
  ceiling?: { value: number; name: string };
  format: (value: number) => string;
  tickFormat: (value: number) => string;
}

/** As a line plot's. */
const WIDTH = 390;
const LEFT = 118;
const RIGHT = 330;
/** Values stand in a column, so that no line runs through them. */
const VALUES = 386;
const BAR = 13;
const STEP = 18;

export function barPlot({ id, title, bars, ours, ceiling, format, tickFormat }: BarPlot): string {
  const sorted = bars
    .filter(({ value }) => Number.isFinite(value))
    .toSorted((a, b) => b.value - a.value || Number(b.policy === ours) - Number(a.policy === ours));
  const most = Math.max(...sorted.map(({ value }) => value), ceiling?.value ?? 0, 1e-9);
  const scale = linearScale(most, { from: LEFT, to: RIGHT }, "exact");
  const top = ceiling === undefined ? 6 : 22;
  const bottom = top + sorted.length * STEP;
  const grid = scale.ticks.map((tick) => {
    const x = scale.at(tick);
    return (
      empty("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }) +
      label(tickFormat(tick), { x, y: bottom + 14, "text-anchor": "middle" })
    );
  });
  const marks = sorted.map(({ policy, value }, index) => {
    const { colour, dash } = lookOf(policy, ours);
    const y = top + index * STEP;
    const middle = y + BAR / 2 + 5.5;
    const width = Math.max(1, scale.at(value) - LEFT);
    const isOurs = policy === ours;
    const fill = `fill:var(--${colour});fill-opacity:${isOurs ? 1 : dash === "" ? 0.75 : 0.45}`;
    return (
      label(policy, { class: isOurs ? "ours" : "peer", x: LEFT - 7, y: middle, "text-anchor": "end" }) +
      empty("rect", { x: LEFT, y: y + 2, width, height: BAR, rx: 2, style: fill }) +
      label(format(value), { class: isOurs ? "ours" : "value", x: VALUES, y: middle, "text-anchor": "end" })
    );
  });
  const line = ceiling === undefined ? "" : ceilingMark(ceiling, scale.at(ceiling.value), top, bottom, format);
  const body = [...grid, empty("line", { class: "axis", x1: LEFT, x2: LEFT, y1: top, y2: bottom }), ...marks, line].join("");
  const limit = ceiling === undefined ? "" : ` ${ceiling.name}: ${format(ceiling.value)}.`;
  const description = `${sorted.map(({ policy, value }) => `${policy} ${format(value)}`).join(", ")}.${limit}`;
  return figure({ id, title, description, width: WIDTH, height: bottom + 20, body });
}

function ceilingMark(
  { value, name }: { value: number; name: string },
  x: number,
  top: number,
  bottom: number,
  format: (value: number) => string,
): string {
  const text = label(`${name} ${format(value)}`, { class: "value", x: x + 2, y: 12, "text-anchor": "end" });
  return empty("line", { class: "ceiling", x1: x, x2: x, y1: top - 6, y2: bottom }) + text;
}
