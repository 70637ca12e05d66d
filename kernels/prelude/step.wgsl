// Prelude step: values that change from step to step. A kernel that needs them declares
// `@group(1) @binding(1) var<uniform> step: Step;`.
struct Step { index: u32, seed: u32, pad0: u32, pad1: u32, lr: array<vec4f, 4> } // learning rates of 16 groups
