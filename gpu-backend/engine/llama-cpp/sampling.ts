/** A request's settings as llama.cpp's sampler. */
import type { EngineRequest } from "../engine.ts";
import type { Addon, GrammarState, Sampler, SamplerConfig } from "./binding.ts";
import type { Vocabulary } from "./vocabulary.ts";

// llama.cpp takes this seed as "choose one at random".
const randomSeed = 0xffffffff;
const barringBias = -100;
/** Bars a token whatever its logit is; finite, so that a grammar that allows nothing else still ends. */
const barredLogit = -10_000;

type Extras = Pick<SamplerConfig, "tokenBiasKeys" | "tokenBiasValues" | "grammarEvaluationState"> &
  Partial<Pick<SamplerConfig, "repeatPenaltyTokens" | "repeatPenaltyMaxTokens">>;

function biases(request: EngineRequest, vocabulary: Vocabulary): Map<number, number> {
  const bias = new Map<number, number>();
  for (const [token, value] of request.logitBias) {
    const known = Number.isInteger(token) && token >= 0 && token < vocabulary.size;
    if (known && value !== 0) bias.set(token, value <= barringBias ? barredLogit : value);
  }
  // llama.cpp's grammar sees the text of control tokens, which the output leaves out.
  if (request.grammar !== null) for (const token of vocabulary.controlTokens) bias.set(token, barredLogit);
  return bias;
}

function extras(request: EngineRequest, vocabulary: Vocabulary, contextTokens: number, grammar: GrammarState | undefined): Extras {
  const bias = biases(request, vocabulary);
  const penalizes = request.presencePenalty !== 0 || request.frequencyPenalty !== 0;
  return {
    ...(bias.size > 0 ? { tokenBiasKeys: Uint32Array.from(bias.keys()), tokenBiasValues: Float32Array.from(bias.values()) } : {}),
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

export function makeRunSampler(
  addon: Addon,
  vocabulary: Vocabulary,
  request: EngineRequest,
  contextTokens: number,
  grammar: GrammarState | undefined,
): Sampler {
  const sampler = addon.makeSampler();
  const seed = request.seed >>> 0;
  sampler.applyConfig({
    temperature: request.temperature,
    topK: 0,
    topP: request.topP,
    minP: 0,
    seed: seed === randomSeed ? seed - 1 : seed,
    ...extras(request, vocabulary, contextTokens, grammar),
  });
  return sampler;
}
