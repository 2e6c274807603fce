/** The page's look: light and dark by what the reader's system says, light on paper. */
import { colourVariables } from "./palette.ts";

const LIGHT = `--page:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--grid:#e7ebef;--panel:#f6f8fa;--good:#1a7f5a;--bad:#c92a2a;${colourVariables("light")}`;
const DARK = `--page:#14171b;--ink:#e6e9ed;--soft:#a0a8b2;--line:#3a424c;--grid:#272d34;--panel:#1c2127;--good:#3fb984;--bad:#ff6b6b;${colourVariables("dark")}`;

export const STYLE = `
:root{color-scheme:light dark;${LIGHT}}
@media screen and (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1320px;padding:24px 20px 64px;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:20px;margin:44px 0 6px;padding-top:14px;border-top:1px solid var(--line)}h3{font-size:16px;margin:24px 0 6px}
p{margin:6px 0 12px;max-width:80ch}.soft{color:var(--soft)}a{color:inherit}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;padding:0;margin:14px 0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:18px 0;padding:0}
.facts div{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.facts dt{color:var(--soft);font-size:13px}.facts dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
.facts small{color:var(--soft);font-size:12px;font-weight:400;display:block}
.terms{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 14px;max-width:90ch}.terms dt{font-weight:600}.terms dd{margin:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,390px),1fr));gap:18px 22px}
figure{margin:0;break-inside:avoid;min-width:0}figcaption{font-weight:600;font-size:14px;margin-bottom:2px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg text.ours{fill:var(--ink);font-weight:700}svg text.value{fill:var(--ink)}
svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--line)}svg .leader{stroke:var(--line);stroke-width:.8}svg .ceiling{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
.scroll{overflow-x:auto;margin:8px 0 20px}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;white-space:normal;font-weight:600;font-size:14px;padding:6px 0}
th,td{padding:4px 9px;border-bottom:1px solid var(--grid);text-align:right;white-space:nowrap}
th{font-weight:500}thead th{color:var(--soft);border-bottom:1px solid var(--line);vertical-align:bottom}
th[scope=row],thead th:first-child{text-align:left}tr{break-inside:avoid}
tr.ours th,tr.ours td{font-weight:700;background:color-mix(in srgb,var(--warmpath) 10%,transparent)}
td small{font-weight:400}td.even small{color:var(--soft)}td.text{text-align:left}
td.better2{background:color-mix(in srgb,var(--good) 38%,transparent)}td.better1{background:color-mix(in srgb,var(--good) 18%,transparent)}
td.worse1{background:color-mix(in srgb,var(--bad) 22%,transparent)}td.worse2{background:color-mix(in srgb,var(--bad) 42%,transparent)}
.met{color:var(--good);font-weight:600}.missed{color:var(--bad);font-weight:600}
@media (max-width:480px){body{padding:16px 10px 40px}h1{font-size:22px}}
@media print{body{max-width:none;padding:0;font-size:11px}nav{display:none}h2,h3{break-after:avoid}.scroll{overflow:visible}table{font-size:9px}th,td{padding:2px 4px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.plots{grid-template-columns:repeat(2,1fr)}}
`;
