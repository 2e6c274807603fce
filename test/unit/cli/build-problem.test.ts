import { expect, it } from "vitest";
import { buildProblem } from "../../../cli/build-problem.ts";

it.each([
  [
    '\n\x1b[31m✘ \x1b[41;31m[\x1b[41;97mERROR\x1b[41;31m]\x1b[0m \x1b[1mBuild failed with 1 error:\x1b[0m\n\n  \x1b[31m✘ [ERROR]\x1b[0m \x1b[1mExpected identifier but found "="\x1b[0m\n\n      workers/router.ts:8:6:\n        8 │ const = ;\n',
    'Expected identifier but found "=" (workers/router.ts:8:6)',
  ],
  ["ReferenceError: nothing is not defined\n    at file:///tools/build.ts:1:1\n", "nothing is not defined"],
  ["something\nlast words\n", "last words"],
  ["", "Command failed"],
])("a build that ends with %j failed because of %j", (stderr, problem) => {
  expect(buildProblem({ message: "Command failed", stderr })).toBe(problem);
});
