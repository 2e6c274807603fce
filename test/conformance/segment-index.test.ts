import { createSegmentIndex } from "../../src/residency/typed-array-index.ts";
import { MapIndex } from "./map-index.ts";
import { segmentIndexSuite } from "./segment-index.ts";

segmentIndexSuite("map (the reference itself)", () => new MapIndex());
segmentIndexSuite("typed arrays", () => createSegmentIndex());
segmentIndexSuite("typed arrays, one part", () => createSegmentIndex({ maxParts: 1 }));
