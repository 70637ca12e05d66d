// Rows of a table by index, and the gradient of the table, without atomics.
//   gather        y[n, :] = w[n * stride + ids[n], :]     stride 0: an embedding; L: one row of each [L, D]
//   chain         next[n]: the next position after n with the same id, or END; the top bit marks the first one
//   sumChains     dw[ids[n], :] = sum of dy[m, :] over the chain from n, for the first position n of each id;
//                 m ascends: same bits every run. Rows without an id keep the zeros of a launch before.
//   scatterRow    dx[n, l, :] = dy[n, :] if l = ids[n], else 0
// `...By4` take four columns at a time: D in vec4s.
// Grid: any; each invocation walks on by the number of invocations.
struct Sizes { N: u32, D: u32, L: u32, stride: u32 } // positions, row length, rows of each x
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> ids: array<u32>; // [N]
@group(0) @binding(1) var<storage, read> w: array<f32>; // [V, D]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [N, D]
@group(0) @binding(3) var<storage, read_write> next: array<u32>; // [N]
@group(0) @binding(4) var<storage, read> nextIn: array<u32>; // [N]
@group(0) @binding(5) var<storage, read> dy: array<f32>; // [N, D]
@group(0) @binding(6) var<storage, read_write> dw: array<f32>; // [V, D]
@group(0) @binding(7) var<storage, read_write> dx: array<f32>; // [N, L, D]

@group(0) @binding(0) var<storage, read> ids4: array<vec4u>; // [N / 4], padded
@group(0) @binding(1) var<storage, read> w4: array<vec4f>; // [V, D]
@group(0) @binding(2) var<storage, read_write> y4: array<vec4f>; // [N, D]
@group(0) @binding(5) var<storage, read> dy4: array<vec4f>; // [N, D]
@group(0) @binding(6) var<storage, read_write> dw4: array<vec4f>; // [V, D]

const FIRST = 0x80000000u;
const END = 0x7fffffffu;

@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N * sizes.D; i += n.x * 64u) {
    let row = i / sizes.D;
    y[i] = w[(row * sizes.stride + ids[row]) * sizes.D + i % sizes.D];
  }
}

@compute @workgroup_size(64)
fn gatherBy4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N * sizes.D; i += n.x * 64u) {
    let row = i / sizes.D;
    y4[i] = w4[(row * sizes.stride + ids[row]) * sizes.D + i - row * sizes.D];
  }
}

// Every invocation passes over all ids: in step, four at a time, faster than each its own way from its own place.
@compute @workgroup_size(64)
fn chain(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N; i += n.x * 64u) {
    let own = ids4[i / 4u][i % 4u];
    var after = vec4u(END);
    var isFirst = true;
    for (var k = 0u; k < sizes.N; k += 4u) {
      let at = k + vec4u(0u, 1u, 2u, 3u);
      let same = (ids4[k / 4u] == vec4u(own)) & (at < vec4u(sizes.N));
      isFirst = isFirst & !any(same & (at < vec4u(i)));
      after = min(after, select(vec4u(END), at, same & (at > vec4u(i))));
    }
    next[i] = min(min(after.x, after.y), min(after.z, after.w)) | select(0u, FIRST, isFirst);
  }
}

@compute @workgroup_size(64)
fn sumChains(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N * sizes.D; i += n.x * 64u) {
    let d = i % sizes.D;
    var m = i / sizes.D;
    if ((nextIn[m] & FIRST) == 0u) { continue; }
    let row = ids[m];
    var s = 0.0;
    while (m != END) {
      s += dy[m * sizes.D + d];
      m = nextIn[m] & END;
    }
    dw[row * sizes.D + d] = s;
  }
}

@compute @workgroup_size(64)
fn sumChainsBy4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) n: vec3u) {
  for (var i = id.x; i < sizes.N * sizes.D; i += n.x * 64u) {
    var m = i / sizes.D;
    let d = i - m * sizes.D;
    if ((nextIn[m] & FIRST) == 0u) { continue; }
    let row = ids[m];
    var s = vec4f();
    while (m != END) {
      s += dy4[m * sizes.D + d];
      m = nextIn[m] & END;
    }
    dw4[row * sizes.D + d] = s;
  }
}

@compute @workgroup_size(64)
fn scatterRow(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < sizes.N * sizes.L * sizes.D; i += groups.x * 64u) {
    let row = i / sizes.D;
    let n = row / sizes.L;
    dx[i] = select(0.0, dy[n * sizes.D + i % sizes.D], row % sizes.L == ids[n]);
  }
}
