// Prelude step: values that change from step to step. A kernel that needs them declares
// `@group(1) @binding(1) var<uniform> step: Step;`.
// A micro-batch begins at row `firstRow` of its batch; `part` is its number.
struct Step { index: u32, seed: u32, firstRow: u32, part: u32, lr: array<vec4f, 4> } // learning rates of 16 groups
