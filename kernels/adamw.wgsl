// AdamW over a whole shard of parameters, and what decides whether a step counts.
//   m <- beta1 m + (1 - beta1) g    v <- beta2 v + (1 - beta2) g^2    t: the group's count of steps, this one included
//   p <- p - lr (decay p + m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps))
// The decay is decoupled and reads the old p. It is PyTorch's p (1 - lr decay) - lr ..., rounded once instead of twice.
// A gradient that is not finite anywhere skips the whole step: parameters, moments and counts stay as they are.
// 1 - beta comes from the CPU in f64: 1 - f32(0.999) is off by 1e-5. So do ln beta, for beta^t.
// Grid: `update` one invocation four elements; the invocations of `count` walk over the shard, four elements a step;
// `advance` one invocation. N is a multiple of 4: shards are.
// @prelude reduce grid step
struct Sizes { N: u32, group: u32, isLast: u32, beta1: f32, rest1: f32, logBeta1: f32, beta2: f32, rest2: f32, logBeta2: f32, eps: f32, decay: f32 } // rest = 1 - beta
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(1) @binding(1) var<uniform> step: Step;

@group(0) @binding(0) var<storage, read_write> p: array<vec4f>;              // [N / 4]
@group(0) @binding(1) var<storage, read> g: array<vec4f>;                    // [N / 4]
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;              // [N / 4]
@group(0) @binding(3) var<storage, read_write> v: array<vec4f>;              // [N / 4]
@group(0) @binding(4) var<storage, read> steps: array<u32>;                  // [1]
@group(0) @binding(5) var<storage, read> status: array<u32>;                 // [4]: see `advance`

@group(0) @binding(6) var<storage, read> bits: array<vec4u>;                 // [N / 4], g as it is stored
@group(0) @binding(7) var<storage, read_write> counter: array<atomic<u32>>;  // status
@group(0) @binding(8) var<storage, read_write> stepsOut: array<u32>;         // steps
@group(0) @binding(9) var<storage, read_write> statusOut: array<u32>;        // status

// 1 - e^z for z < 0, with the digits that the subtraction would lose near 0.
fn oneMinusExp(z: f32) -> f32 {
  if (z < -0.5) { return 1.0 - exp(z); }
  var series = 1.0; // (e^z - 1) / z = 1 + z/2 (1 + z/3 (1 + ...)); what follows z/10 is below 1e-10
  for (var k = 10.0; k > 1.5; k -= 1.0) { series = 1.0 + z / k * series; }
  return -z * series;
}

// Adds this shard's values that are not finite to status[0]: integers, so the order does not matter.
// By the bits: a compiler may assume that an f32 is finite.
@compute @workgroup_size(WG)
fn count(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  var bad = vec4u();
  for (var i = id.x; i < sizes.N / 4u; i += n.x * WG) {
    bad += select(vec4u(), vec4u(1u), (bits[i] & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
  }
  let total = bad.x + bad.y + bad.z + bad.w;
  if (total > 0u) { atomicAdd(&counter[0], total); }
}

@compute @workgroup_size(WG)
fn update(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) n: vec3u,
          @builtin(local_invocation_index) t: u32) {
  let i = flatGroup(group, n) * WG + t;
  if (i >= sizes.N / 4u || status[0] > 0u) { return; }
  let time = f32(steps[0] + 1u);
  let lr = step.lr[sizes.group / 4u][sizes.group % 4u];
  let correction1 = oneMinusExp(time * sizes.logBeta1);
  let correction2 = oneMinusExp(time * sizes.logBeta2);
  let mNew = sizes.beta1 * m[i] + sizes.rest1 * g[i];
  let vNew = sizes.beta2 * v[i] + sizes.rest2 * g[i] * g[i];
  m[i] = mNew;
  v[i] = vNew;
  p[i] -= lr * (sizes.decay * p[i] + mNew / correction1 / (sqrt(vNew / correction2) + sizes.eps));
}

// Ends the step of a group. After the last group, status is [0, skipped steps, skipped steps in a row, 0].
@compute @workgroup_size(1)
fn advance() {
  let isSkipped = statusOut[0] > 0u;
  if (!isSkipped) { stepsOut[0] += 1u; }
  if (sizes.isLast == 0u) { return; }
  statusOut[0] = 0u;
  if (isSkipped) {
    statusOut[1] += 1u;
    statusOut[2] += 1u;
  } else {
    statusOut[2] = 0u;
  }
}
