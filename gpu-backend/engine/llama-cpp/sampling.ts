/** A request's settings as llama.cpp's sampler. */
import type { Addon, GrammarState, LogitIndex, Sampler, SamplerConfig } from "./binding.ts";
import type { ChildRequest } from "./messages.ts";
import type { Utf8Guard, Utf8State } from "./utf8-guard.ts";
import type { Vocabulary } from "./vocabulary.ts";

// llama.cpp takes this seed as "choose one at random".
const randomSeed = 0xffffffff;
const barringBias = -100;
/** Bars a token whatever its logit is; finite, so that a grammar that allows nothing else still ends. */
const barredLogit = -10_000;
/** For what would break the text: also where the caller bars every other way on. */
const brokenLogit = -1_000_000;

type Extras = Pick<SamplerConfig, "grammarEvaluationState"> &
  Partial<Pick<SamplerConfig, "repeatPenaltyTokens" | "repeatPenaltyMaxTokens">>;

function biases(request: ChildRequest, vocabulary: Vocabulary): Map<number, number> {
  const bias = new Map<number, number>();
  for (const [token, value] of request.logitBias) {
    const known = Number.isInteger(token) && token >= 0 && token < vocabulary.size;
    if (known && value !== 0) bias.set(token, value <= barringBias ? barredLogit : value);
  }
  // llama.cpp's grammar sees the text of control tokens, which the output leaves out.
  if (request.gbnf !== null) for (const token of vocabulary.controlTokens) bias.set(token, barredLogit);
  return bias;
}

function extras(request: ChildRequest, contextTokens: number, grammar: GrammarState | undefined): Extras {
  const penalizes = request.presencePenalty !== 0 || request.frequencyPenalty !== 0;
  return {
    // The addon counts what it samples, so these are penalties over the output alone: count * frequency + (count > 0) * presence.
    ...(penalizes
      ? {
          repeatPenaltyTokens: new Uint32Array(),
          repeatPenaltyMaxTokens: contextTokens,
          repeatPenalty: 1,
          repeatPenaltyPresencePenalty: request.presencePenalty,
          repeatPenaltyFrequencyPenalty: request.frequencyPenalty,
        }
      : {}),
    ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
  };
}

type BiasConfig = Pick<SamplerConfig, "tokenBiasKeys" | "tokenBiasValues">;

/** `broken`: tokens that may not follow here. */
function biasConfig(asked: ReadonlyMap<number, number>, broken: readonly number[]): BiasConfig {
  const bias = new Map(asked);
  for (const token of broken) bias.set(token, brokenLogit);
  return bias.size > 0 ? { tokenBiasKeys: Uint32Array.from(bias.keys()), tokenBiasValues: Float32Array.from(bias.values()) } : {};
}

/**
 * The seed of output position `position` (0 = the first token): murmur3's 32-bit finalizer over the request's seed, and again over
 * that plus position times the golden ratio. It depends on nothing else, so that a run can go on in another engine, and so that the
 * runs it shares a batch with do not matter.
 */
function stepSeed(seed: number, position: number): number {
  const mix = (word: number) => {
    let mixed = word >>> 0;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const mixed = mix(mix(seed) + Math.imul(position, 0x9e3779b9));
  return mixed === randomSeed ? 0 : mixed;
}

/** What all samplers of an engine share. */
export interface SamplerParts {
  addon: Addon;
  vocabulary: Vocabulary;
  utf8: Utf8Guard;
  contextTokens: number;
}

export interface Choice {
  token: number;
  /** Whether its logit is a finite number. KV that is not finite makes all logits NaN: attention and norms mix every number into every other. */
  finite: boolean;
}

/** Samples, and reads the chosen token's logit beside. Throws when no token is possible. */
async function choose({ context }: Addon, logit: LogitIndex, sampler: Sampler): Promise<Choice> {
  const [token, , , pairs] = await context.sampleToken(logit, sampler, false, false, [[], false, false, true, 0], false);
  if (!(token >= 0)) throw new Error("no token is possible");
  return { token, finite: Number.isFinite(pairs?.[1]) };
}

/** Tells logits that are not finite, whatever a run's own sampler would make of them. */
export class LogitProbe {
  readonly #addon: Addon;
  readonly #greedy: Sampler;

  constructor(addon: Addon) {
    this.#addon = addon;
    this.#greedy = addon.makeSampler();
    this.#greedy.applyConfig({ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 });
  }

  async isFinite(logit: LogitIndex): Promise<boolean> {
    return (await choose(this.#addon, logit, this.#greedy)).finite;
  }
}

/** Chooses one run's tokens, and can go on where another engine's sampler stopped. */
export class RunSampler {
  readonly #addon: Addon;
  readonly #sampler: Sampler;
  readonly #request: ChildRequest;
  readonly #extras: Extras;
  readonly #asked: ReadonlyMap<number, number>;
  /** Of an answer with a grammar. */
  readonly #utf8: Utf8State | undefined;
  /** All output, when there are penalties on it. */
  readonly #history: number[] | undefined;
  #position = 0;
  #broken: readonly number[] = [];
  #bias: BiasConfig;

  constructor({ addon, vocabulary, utf8, contextTokens }: SamplerParts, request: ChildRequest, grammar: GrammarState | undefined) {
    this.#addon = addon;
    this.#sampler = addon.makeSampler();
    this.#request = request;
    this.#extras = extras(request, contextTokens, grammar);
    this.#asked = biases(request, vocabulary);
    this.#utf8 = grammar === undefined ? undefined : utf8.begin();
    this.#history = this.#extras.repeatPenaltyTokens === undefined ? undefined : [];
    this.#bias = biasConfig(this.#asked, this.#broken);
    this.#updateBias();
    this.#configure();
  }

  /** Throws when no token is possible. The choice counts only when its logit is finite. */
  async sample(logit: LogitIndex): Promise<Choice> {
    // Greedy has no seed, and its penalties and grammar count what it chooses.
    if (this.#updateBias() || (this.#position > 0 && this.#request.temperature > 0)) this.#configure();
    const choice = await choose(this.#addon, logit, this.#sampler);
    this.#position++;
    this.#history?.push(choice.token);
    this.#utf8?.accept(choice.token);
    return choice;
  }

  /** Takes a token sampled elsewhere for its own; false when the request's grammar does not allow it. */
  accept(token: number): boolean {
    const grammar = this.#extras.grammarEvaluationState;
    const ends = this.#addon.model.isEogToken(token);
    if (grammar !== undefined && !ends) {
      if (this.#utf8?.barred.includes(token) === true || !this.#addon.acceptInGrammar(grammar, token)) return false;
      this.#utf8?.accept(token);
    }
    this.#position++;
    this.#history?.push(token);
    this.#updateBias();
    this.#configure();
    return true;
  }

  dispose(): void {
    this.#sampler.dispose();
  }

  /** Whether other tokens are barred than before. */
  #updateBias(): boolean {
    const broken = this.#utf8?.barred ?? this.#broken;
    if (broken === this.#broken) return false;
    this.#broken = broken;
    this.#bias = biasConfig(this.#asked, broken);
    return true;
  }

  /** Only what is not yet as it should be is made anew: the seed, and the penalties' count after `accept`. */
  #configure(): void {
    const { temperature, topP, seed } = this.#request;
    this.#sampler.applyConfig({
      temperature,
      topK: 0,
      topP,
      minP: 0,
      seed: stepSeed(seed, this.#position),
      ...this.#bias,
      ...this.#extras,
      ...(this.#history === undefined ? {} : { repeatPenaltyTokens: Uint32Array.from(this.#history) }),
    });
  }
}
