// Prelude reduce: sums and maxima over a workgroup in a fixed tree order. WG is a power of two.
// All invocations must call.
override WG: u32 = 64;
const LOWEST = -3.402823e38;
var<workgroup> lane: array<f32, WG>;
fn sumWorkgroup(v: f32, t: u32) -> f32 {
  lane[t] = v;
  for (var h = WG / 2u; h > 0u; h /= 2u) { workgroupBarrier(); if (t < h) { lane[t] += lane[t + h]; } }
  return workgroupUniformLoad(&lane[0]); // its barriers also protect the next use of `lane`
}
fn maxWorkgroup(v: f32, t: u32) -> f32 {
  lane[t] = v;
  for (var h = WG / 2u; h > 0u; h /= 2u) { workgroupBarrier(); if (t < h) { lane[t] = max(lane[t], lane[t + h]); } }
  return workgroupUniformLoad(&lane[0]);
}
