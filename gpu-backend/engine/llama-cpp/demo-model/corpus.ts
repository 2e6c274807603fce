/** The text the demo tokenizer is trained on, made from our own word lists: prose, code, JSON, chat and some other scripts. */
import { SeededRandom } from "./random.ts";

const roots =
  `act add allow answer appear arrange ask assign attend balance base begin block board bound branch break bring build cache call
  carry cast chain change check choose claim clear click climb close collect color come commit compare connect consider contain cook copy
  count cover create cross cut deal decide deliver depend describe design direct discover divide draw drive edge edit enter explain extend
  fall feed field fill filter find finish fit flow fold follow form frame gain gather give grant group grow guard guess guide hand handle
  happen hash head hear help hold host index inform insert inspect join judge jump keep key kind know land last layer lead learn lease leave
  level lift light limit line link list listen load local lock look map mark match mean measure meet merge model mount move name need note
  number object observe offer open order own pack page paint pass path pay perform place plan plant play point pool post prefer prepare
  press print produce program promise protect prove publish pull push query question queue raise range reach read reason record reduce
  remain remember remove render repair replace replica report request rest result return review ride ring rise roll route rule run sample
  save scale search segment select send serve session set settle shape share shift show sign sing skip sleep solve sort sound speak
  spend split stand start state stay step stop store stream string study support switch system table take talk task teach tell tenant test
  think ticket time token touch trace track train transfer travel treat trust turn type understand update value view visit wait walk want
  warm wash watch weigh wish wonder word work worker write yield`.split(/\s+/);
const endings = ["", "", "", "s", "ed", "ing", "er", "able", "ment", "ly", "less", "ful", "ness"];
const subjects = [
  "the reader", "a young engineer", "our team", "the old captain", "someone", "every student", "the gardener", "my neighbour", "the teacher",
  "a quiet river", "the city", "she", "he", "they", "we", "nobody", "the assistant", "the user", "this machine", "a traveller",
]; // prettier-ignore
const places = ["in the morning", "near the harbour", "at the edge of town", "under the bridge", "between two mountains", "after dinner",
  "before the storm", "on a narrow road", "inside the library", "without any hurry", "across the wide field", "during the winter"]; // prettier-ignore
const adjectives = ["small", "bright", "careful", "useful", "ancient", "simple", "strange", "green", "honest", "heavy", "golden", "silent"];
const links = ["because", "although", "while", "and", "but", "so that", "until", "where", "if", "when"];
const types = ["string", "number", "boolean", "Promise<void>", "Uint8Array", "readonly string[]", "unknown"];
const foreign = [
  "Grüße aus Zürich, schöne Straße und ein Käsebrötchen.", "¿Dónde está la biblioteca? El niño comió piñas.", "Où est le café près de la forêt ?",
  "Привет, как дела сегодня?", "今日はいい天気ですね。", "你好，世界！我们走吧。", "안녕하세요 여러분", "שלום עולם", "naïve résumé — “quoted” … ½ €5",
  "emoji 🙂🚀🌍 and 👩‍💻", "x ≤ y ⇒ ∑ aᵢ ≈ π",
]; // prettier-ignore

const word = (random: SeededRandom) => random.pick(roots) + random.pick(endings);
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
const camel = (random: SeededRandom) => random.pick(roots) + capital(word(random));
const digits = (random: SeededRandom) => String(Math.floor(random.next() * 10_000));

function sentence(random: SeededRandom): string {
  const clause = () =>
    `${random.pick(subjects)} ${word(random)} the ${random.pick(adjectives)} ${word(random)} ${random.next() < 0.5 ? `of ${word(random)} ` : ""}${random.pick(places)}`;
  return `${capital(clause())}${random.next() < 0.6 ? `, ${random.pick(links)} ${clause()}` : ""}${random.pick([".", ".", ".", "!", "?"])}`;
}

function paragraph(random: SeededRandom): string {
  return `${Array.from({ length: 4 }, () => sentence(random)).join(" ")} I don't think it's what we're after; they'll say you've won.\n\n`;
}

function code(random: SeededRandom): string {
  const [name, input, local] = [camel(random), word(random), camel(random)];
  return `/** ${sentence(random)} */
export async function ${name}(${input}: ${random.pick(types)}, options: ${capital(camel(random))}): Promise<${random.pick(types)}> {
  const ${local} = await ${camel(random)}(${input});
  if (${local}.length === 0 || ${local}[${digits(random)}] !== undefined) {
    throw new Error("${word(random)} ${word(random)}");
  }
  for (const ${word(random)} of ${local}) {
    this.${camel(random)}.push({ ${word(random)}: ${digits(random)}, ${word(random)}: true });
  }
  return ${local}.map((item) => item.${word(random)});
}\n
def ${random.pick(roots)}_${word(random)}(self, ${input}=None):
    """${sentence(random)}"""
    return [${input} for ${input} in self.${word(random)} if ${input} is not None]\n\n`;
}

function json(random: SeededRandom): string {
  const properties = Object.fromEntries(Array.from({ length: 3 }, () => [word(random), { type: "string", description: sentence(random) }]));
  const parameters = { type: "object", properties, required: Object.keys(properties).slice(0, 1) };
  const tool = {
    type: "function",
    function: { name: `${random.pick(roots)}_${word(random)}`, description: sentence(random), parameters },
  };
  return `${JSON.stringify(tool)}\n${JSON.stringify({ id: digits(random), ok: true, items: [1, 2, null] }, null, 2)}\n`;
}

function chat(random: SeededRandom): string {
  return `system\nYou are a helpful assistant. ${sentence(random)}\nuser\n${sentence(random)}\nassistant\n${sentence(random)}\ntool\n{"${word(random)}": ${digits(random)}}\n# Tools\n\n`;
}

/** About 130 kB, the same on every machine. */
export function demoCorpus(): string {
  const random = new SeededRandom(20_240_613);
  let text = "";
  while (text.length < 130_000) {
    text += paragraph(random) + paragraph(random) + code(random) + json(random) + chat(random) + `${random.pick(foreign)}\n`;
  }
  return text;
}
