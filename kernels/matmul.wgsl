// Matrix product, for any device.
//   y[z] = last(activation(scale * a[z] b[z] + bias), other[z])    [M, N], K terms, f32; z = (outer, inner)
// Operands have any strides: transposed, batched and per-head products need no copy. One tile of 8 x 64 a workgroup,
// 8 columns a lane. Each element is one sum of fused multiply-adds in the order of K.
// Grid: x tiles of N, y tiles of M, z matrices.
// @prelude matmul finish math
struct Sizes {
  M: u32, N: u32, K: u32,
  inner: u32, z0: u32, // matrices a step of the outer axis; first matrix of this launch
  hasBias: u32, isRelu: u32, scale: f32,
  aOuter: u32, aInner: u32, aM: u32, aK: u32, // strides in elements
  bOuter: u32, bInner: u32, bN: u32, bK: u32,
  yOuter: u32, yInner: u32, yM: u32, // along N, y has no gaps
}
@group(1) @binding(0) var<uniform> sizes: Sizes;

@group(0) @binding(0) var<storage, read> a: array<f32>;       // [outer, inner, M, K], any strides
@group(0) @binding(1) var<storage, read> b: array<f32>;       // [outer, inner, K, N], any strides
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [N]; not read where hasBias is 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [outer, inner, M, N], rows without gaps
@group(0) @binding(4) var<storage, read> other: array<f32>;   // like y; not read where the last step is none
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // [M]: of the rows of a, in the order of K
@group(0) @binding(6) var<storage, read_write> activated: array<f32>; // like y: its gelu, by prelude finish_gelu

struct Tile { left: Block, right: Block, sums0: vec4f, sums1: vec4f } // sums of the eight rows of a

fn sumTile(g: vec3u, t: u32) -> Tile {
  let origin = originOf(g);
  let m = g.y * 8;
  let n = g.x * 64 + t + vec4u(0, 8, 16, 24);
  var i = origin.a + rowsOf(m + vec4u(0, 1, 2, 3));
  var l = origin.a + rowsOf(m + vec4u(4, 5, 6, 7));
  var j = origin.b + columnsOf(n);
  var p = origin.b + columnsOf(n + 32);
  var c: Block;
  var d: Block;
  var s0 = vec4f();
  var s1 = vec4f();
  for (var k = 0u; k < sizes.K; k++) {
    let v = vec4f(b[j.x], b[j.y], b[j.z], b[j.w]);
    let w = vec4f(b[p.x], b[p.y], b[p.z], b[p.w]);
    // Row by row: fewer registers than all eight loads first.
    let x0 = vec4f(a[i.x]); c.r0 = fma(x0, v, c.r0); d.r0 = fma(x0, w, d.r0);
    let x1 = vec4f(a[i.y]); c.r1 = fma(x1, v, c.r1); d.r1 = fma(x1, w, d.r1);
    let x2 = vec4f(a[i.z]); c.r2 = fma(x2, v, c.r2); d.r2 = fma(x2, w, d.r2);
    let x3 = vec4f(a[i.w]); c.r3 = fma(x3, v, c.r3); d.r3 = fma(x3, w, d.r3);
    let x4 = vec4f(a[l.x]); c.r4 = fma(x4, v, c.r4); d.r4 = fma(x4, w, d.r4);
    let x5 = vec4f(a[l.y]); c.r5 = fma(x5, v, c.r5); d.r5 = fma(x5, w, d.r5);
    let x6 = vec4f(a[l.z]); c.r6 = fma(x6, v, c.r6); d.r6 = fma(x6, w, d.r6);
    let x7 = vec4f(a[l.w]); c.r7 = fma(x7, v, c.r7); d.r7 = fma(x7, w, d.r7);
    s0 += vec4f(x0.x, x1.x, x2.x, x3.x);
    s1 += vec4f(x4.x, x5.x, x6.x, x7.x);
    i += sizes.aK; l += sizes.aK; j += sizes.bK; p += sizes.bK;
  }
  return Tile(c, d, s0, s1);
}
fn storeTile(r: Tile, g: vec3u, t: u32) {
  let start = originOf(g).y;
  let n = g.x * 64 + t + vec4u(0, 8, 16, 24);
  storeBlock(r.left, start, g.y * 8, n);
  storeBlock(r.right, start, g.y * 8, n + 32);
}

@compute @workgroup_size(8)
fn tile(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  storeTile(sumTile(g, t), g, t);
}

@compute @workgroup_size(8)
fn tileAndSums(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  let r = sumTile(g, t);
  storeTile(r, g, t);
  let m = g.y * 8 + t;
  if (g.x == 0 && m < sizes.M) { sums[m] = select(r.sums1[t % 4], r.sums0[t % 4], t < 4); }
}
