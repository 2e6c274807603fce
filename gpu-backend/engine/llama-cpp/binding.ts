/**
 * The one door to node-llama-cpp's addon. Its public API has no batches over several sequences, so we use three fields its types leave
 * out (`_ctx`, `_bindings`, `_model`). They may move in any release: the version is pinned, and opening the door checks every method.
 */
import type { Llama, LlamaContext, LlamaModel } from "node-llama-cpp";

declare const batchIndex: unique symbol;
/** Place of one token's logits in the current batch; valid until the next `initBatch`. */
export type LogitIndex = number & { readonly [batchIndex]: never };

declare const grammar: unique symbol;
/** A grammar in GBNF that llama.cpp could read. */
export type AddonGrammar = { readonly [grammar]: "grammar" };
/** How far one run's output has gone in its grammar. */
export type GrammarState = { readonly [grammar]: "state" };

export interface SamplerConfig {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  seed: number;
  tokenBiasKeys?: Uint32Array;
  /** Added to the logits, first of all. */
  tokenBiasValues?: Float32Array;
  /** Tokens to begin with; the sampler adds what it samples. Without it there are no penalties. */
  repeatPenaltyTokens?: Uint32Array;
  repeatPenaltyMaxTokens?: number;
  repeatPenalty?: number;
  repeatPenaltyPresencePenalty?: number;
  repeatPenaltyFrequencyPenalty?: number;
  /** The sampler takes only what it allows, and advances it. */
  grammarEvaluationState?: GrammarState;
}

export interface Sampler {
  applyConfig(config: SamplerConfig): void;
  dispose(): void;
}

/** Token, (unused) probabilities and confidence, pairs of token and logit, and the sum of exp(logit - largest). */
type SampledLogits = [
  token: number,
  probabilities: number[] | undefined,
  confidence: number | undefined,
  logits: number[] | undefined,
  weight: number | undefined,
];

export interface AddonContext {
  /** Cells over all sequences. */
  getContextSize(): number;
  initBatch(tokens: number): void;
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logitsAt: Uint32Array): ArrayLike<LogitIndex>;
  decodeBatch(): Promise<void>;
  sampleToken(index: LogitIndex, sampler: Sampler): Promise<number>;
  sampleToken(
    index: LogitIndex,
    sampler: Sampler,
    probabilities: false,
    confidence: false,
    logits: [tokens: number[], largest: boolean, smallest: boolean, selected: boolean, top: number],
    weight: boolean,
  ): Promise<SampledLogits>;
  setThreads(threads: number): void;
  /** A sequence out of range aborts the process. */
  disposeSequence(sequence: number): void;
  removeTokenCellsFromSequence(sequence: number, from: number, to: number): boolean;
  saveSequenceStateToFile(file: string, sequence: number, tokens: Uint32Array): Promise<number>;
  loadSequenceStateFromFile(file: string, sequence: number, contextTokens: number): Promise<Uint32Array>;
}

export interface AddonModel {
  tokenize(text: string, special: boolean): Uint32Array;
  isEogToken(token: number): boolean;
}

export interface Addon {
  context: AddonContext;
  model: AddonModel;
  makeSampler(): Sampler;
  /** Throws when llama.cpp cannot read it. */
  makeGrammar(gbnf: string): AddonGrammar;
  makeGrammarState(grammar: AddonGrammar): GrammarState;
  /** Advances the state by a token that its own sampler did not choose; false when the grammar does not allow it. */
  acceptInGrammar(state: GrammarState, token: number): boolean;
}

interface Bindings {
  AddonSampler: {
    new (model: AddonModel): Sampler;
    acceptGrammarEvaluationStateToken(state: GrammarState, token: number): void;
    canBeNextTokenForGrammarEvaluationState(state: GrammarState, token: number): boolean;
  };
  AddonGrammar: new (gbnf: string, options: { addonExports: unknown; rootRuleName: string }) => AddonGrammar;
  AddonGrammarEvaluationState: new (model: AddonModel, grammar: AddonGrammar) => GrammarState;
}

const contextMethods = [
  "getContextSize",
  "initBatch",
  "addToBatch",
  "decodeBatch",
  "sampleToken",
  "setThreads",
  "disposeSequence",
  "removeTokenCellsFromSequence",
  "saveSequenceStateToFile",
  "loadSequenceStateFromFile",
] satisfies (keyof AddonContext)[];
const samplerMethods = ["acceptGrammarEvaluationStateToken", "canBeNextTokenForGrammarEvaluationState"];
const modelMethods = ["tokenize", "isEogToken"] satisfies (keyof AddonModel)[];

function has(target: unknown, methods: readonly string[]): boolean {
  return (
    (typeof target === "object" || typeof target === "function") &&
    target !== null &&
    methods.every((method) => typeof Reflect.get(target, method) === "function")
  );
}

/** Undefined when this node-llama-cpp is not shaped as the pinned one. */
export function openAddon(llama: Llama, model: LlamaModel, context: LlamaContext): Addon | undefined {
  const bindings: unknown = Reflect.get(llama, "_bindings");
  const addonModel: unknown = Reflect.get(model, "_model");
  const addonContext: unknown = Reflect.get(context, "_ctx");
  if (
    !has(bindings, ["AddonSampler", "AddonGrammar", "AddonGrammarEvaluationState"]) ||
    !has(addonModel, modelMethods) ||
    !has(addonContext, contextMethods)
  )
    return undefined;
  if (!has(Reflect.get(bindings as object, "AddonSampler"), samplerMethods)) return undefined;
  const { AddonSampler, AddonGrammar, AddonGrammarEvaluationState } = bindings as Bindings;
  const typedModel = addonModel as AddonModel;
  return {
    context: addonContext as AddonContext,
    model: typedModel,
    makeSampler: () => new AddonSampler(typedModel),
    makeGrammar: (gbnf) => new AddonGrammar(gbnf, { addonExports: bindings, rootRuleName: "root" }),
    makeGrammarState: (made) => new AddonGrammarEvaluationState(typedModel, made),
    acceptInGrammar(state, token) {
      if (!AddonSampler.canBeNextTokenForGrammarEvaluationState(state, token)) return false;
      AddonSampler.acceptGrammarEvaluationStateToken(state, token);
      return true;
    },
  };
}
