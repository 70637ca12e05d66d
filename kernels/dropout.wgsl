// Dropout, and normal numbers: both are functions of (seed, step, site, element).
//   dropout  y[i] = x[i] / (1 - p) where u[i] >= p * 2^32, else 0      u: u32, `randomBlock`
//            then, by `lastStep`, 1: other[i] is added, 2: the slope of gelu at other[i] is multiplied by
//   normal   y[4b .. 4b+3] = r(u0) cos(a(u1)), r(u0) sin(a(u1)), r(u2) cos(a(u3)), r(u2) sin(a(u3))    (Box-Muller)
//            r(u) = sqrt(-2 ln((k + 1) / 2^24)), a(u) = 2 pi (k / 2^24 - 1/2), k the upper 24 bits of u
// The gradient of dropout is the same launch on dy: no mask is kept. The element's number is that in the whole batch: a
// micro-batch draws what its rows would have drawn there.
// Grid: one invocation four elements, which share one block of random numbers. `dropout4` where N and row are multiples of 4.
// @prelude reduce grid random step math
struct Sizes { N: u32, site: u32, threshold: u32, scale: f32, row: u32 } // elements, place in the program, p * 2^32, 1 / (1 - p), elements a row
@group(1) @binding(0) var<uniform> sizes: Sizes;
@group(1) @binding(1) var<uniform> step: Step;

@group(0) @binding(0) var<storage, read> x: array<f32>;         // [N]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;   // [N]
@group(0) @binding(2) var<storage, read> x4: array<vec4f>;      // [N / 4]
@group(0) @binding(3) var<storage, read_write> y4: array<vec4f>; // [N / 4]
@group(0) @binding(4) var<storage, read> other: array<f32>;     // [N]; not read where the last step is none
@group(0) @binding(5) var<storage, read> other4: array<vec4f>;  // [N / 4]

override lastStep: u32 = 0;

// The first element's number in the whole batch.
fn firstElement() -> u32 { return step.firstRow * sizes.row; }
fn random(block: u32) -> vec4u { return randomBlock(block, sizes.site, step.index, step.seed); }
// Four neighbours, from the block that holds the first of them and the next one.
fn neighbours(a: vec4f, b: vec4f, shift: u32) -> vec4f {
  if (shift == 1u) { return vec4f(a.yzw, b.x); }
  if (shift == 2u) { return vec4f(a.zw, b.xy); }
  if (shift == 3u) { return vec4f(a.w, b.xyz); }
  return a;
}

// 1 / (1 - p) for the elements of a block that stay, 0 for the others.
fn keep(block: u32) -> vec4f {
  return select(vec4f(), vec4f(sizes.scale), random(block) >= vec4u(sizes.threshold));
}
fn finish(v: f32, o: f32) -> f32 {
  if (lastStep == 1u) { return v + o; }
  return v * geluSlope(o);
}
fn normals(block: u32) -> vec4f {
  let k = vec4f(random(block) >> vec4u(8u)) / 16777216.0; // exact: 24 bits
  let r = sqrt(max(vec2f(), -2.0 * log(k.xz + 1.0 / 16777216.0))); // log(1) may be a little above 0
  let a = 6.283185307179586 * (k.yw - 0.5); // where sin and cos are most exact
  return vec4f(r.x * cos(a.x), r.x * sin(a.x), r.y * cos(a.y), r.y * sin(a.y));
}

@compute @workgroup_size(WG)
fn dropout4(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
            @builtin(local_invocation_index) t: u32) {
  let b = flatGroup(g, n) * WG + t;
  if (4u * b >= sizes.N) { return; }
  let v = x4[b] * keep(firstElement() / 4u + b);
  if (lastStep == 0u) { y4[b] = v; return; }
  let o = other4[b];
  y4[b] = vec4f(finish(v.x, o.x), finish(v.y, o.y), finish(v.z, o.z), finish(v.w, o.w));
}

@compute @workgroup_size(WG)
fn dropout(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
           @builtin(local_invocation_index) t: u32) {
  let b = flatGroup(g, n) * WG + t;
  if (4u * b >= sizes.N) { return; }
  let block = firstElement() / 4u + b;
  let shift = firstElement() % 4u;
  var k = keep(block);
  if (shift > 0u) { k = neighbours(k, keep(block + 1u), shift); }
  for (var i = 4u * b; i < min(4u * b + 4u, sizes.N); i++) {
    let v = x[i] * k[i % 4u];
    if (lastStep == 0u) { y[i] = v; } else { y[i] = finish(v, other[i]); }
  }
}

@compute @workgroup_size(WG)
fn normal(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u,
          @builtin(local_invocation_index) t: u32) {
  let b = flatGroup(g, n) * WG + t;
  if (4u * b >= sizes.N) { return; }
  let block = firstElement() / 4u + b;
  let shift = firstElement() % 4u;
  var z = normals(block);
  if (shift > 0u) { z = neighbours(z, normals(block + 1u), shift); }
  for (var i = 4u * b; i < min(4u * b + 4u, sizes.N); i++) { y[i] = z[i % 4u]; }
}
