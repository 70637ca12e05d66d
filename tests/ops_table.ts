/** One row for each op: the tests do not type-check while an op has none. How to write one: `kernels/README.md`. */
import type { ops } from "../lib/ops/index.ts";
import type { Row } from "./ops_harness.ts";
import { attentionRows } from "./ops_rows/attention.ts";
import { crossEntropyRows } from "./ops_rows/cross_entropy.ts";
import { dropoutRows } from "./ops_rows/dropout.ts";
import { elementwiseRows } from "./ops_rows/elementwise.ts";
import { gatherRows } from "./ops_rows/gather.ts";
import { l2NormalizeRows } from "./ops_rows/l2_normalize.ts";
import { layerNormRows } from "./ops_rows/layer_norm.ts";
import { matmulRows } from "./ops_rows/matmul.ts";
import { movementRows } from "./ops_rows/movement.ts";
import { reduceRows } from "./ops_rows/reduce.ts";
import { softmaxRows } from "./ops_rows/softmax.ts";

export const table = {
  ...elementwiseRows,
  ...reduceRows,
  ...movementRows,
  ...gatherRows,
  ...matmulRows,
  ...attentionRows,
  ...softmaxRows,
  ...layerNormRows,
  ...l2NormalizeRows,
  ...crossEntropyRows,
  ...dropoutRows,
} satisfies Record<keyof typeof ops, Row>;
