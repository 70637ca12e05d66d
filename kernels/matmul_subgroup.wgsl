// Matrix product for devices whose subgroups have at least 8 lanes.
//   y[z] = last(activation(scale * a[z] b[z] + bias), other[z])    [M, N], K terms, f32; z = (outer, inner)
// A workgroup is 8 lanes of one subgroup. Each lane loads another row of `a`, and broadcasts hand the rows round: a tile
// of 32 x 32 loads 8 elements a lane for 128 multiply-adds, where `matmul.wgsl` loads 16 for 64. On llvmpipe a load costs
// as much as about eight multiply-adds, whatever its address.
// Each element is one sum of fused multiply-adds in the order of K: the same bits from every entry point.
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
@group(0) @binding(0) var<storage, read> a4: array<vec4f>;    // the same, four K at a time
@group(0) @binding(1) var<storage, read> b: array<f32>;       // [outer, inner, K, N], any strides
@group(0) @binding(1) var<storage, read> b4: array<vec4f>;    // the same, four N or four K at a time
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [N]; not read where hasBias is 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [outer, inner, M, N], rows without gaps
@group(0) @binding(4) var<storage, read> other: array<f32>;   // like y; not read where the last step is none
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // [M]: of the rows of a, in the order of K
@group(0) @binding(6) var<storage, read_write> activated: array<f32>; // like y: its gelu, by prelude finish_gelu

// Adds a column of `a`, one row a lane, times a row of `b`, four columns a lane.
fn addOuter(c: ptr<function, Block>, x: f32, w: vec4f) {
  (*c).r0 = fma(vec4f(subgroupBroadcast(x, 0u)), w, (*c).r0);
  (*c).r1 = fma(vec4f(subgroupBroadcast(x, 1u)), w, (*c).r1);
  (*c).r2 = fma(vec4f(subgroupBroadcast(x, 2u)), w, (*c).r2);
  (*c).r3 = fma(vec4f(subgroupBroadcast(x, 3u)), w, (*c).r3);
  (*c).r4 = fma(vec4f(subgroupBroadcast(x, 4u)), w, (*c).r4);
  (*c).r5 = fma(vec4f(subgroupBroadcast(x, 5u)), w, (*c).r5);
  (*c).r6 = fma(vec4f(subgroupBroadcast(x, 6u)), w, (*c).r6);
  (*c).r7 = fma(vec4f(subgroupBroadcast(x, 7u)), w, (*c).r7);
}

// As storeBlock, in a loop: written out, 32 rows a tile take llvmpipe seconds to compile.
fn storeRows(c: Block, start: u32, m: u32, n: vec4u) {
  let add = vec4f(biasOf(n.x), biasOf(n.y), biasOf(n.z), biasOf(n.w));
  var rows = array<vec4f, 8>(c.r0, c.r1, c.r2, c.r3, c.r4, c.r5, c.r6, c.r7);
  let end = min(m + 8, sizes.M);
  for (var row = m; row < end; row++) { storeRow(rows[row - m], add, start, row, n); }
}

// 32 x 32, and the sums of the four rows of a that the lane loads.
struct Tile { c0: Block, c1: Block, c2: Block, c3: Block, sums: vec4f }
fn storeTile(g: vec3u, r: Tile, n: vec4u) {
  let start = originOf(g).y;
  let m = g.y * 32;
  storeRows(r.c0, start, m, n);
  storeRows(r.c1, start, m + 8, n);
  storeRows(r.c2, start, m + 16, n);
  storeRows(r.c3, start, m + 24, n);
}
fn storeSums(g: vec3u, s: vec4f, t: u32) {
  if (g.x > 0) { return; }
  let m = g.y * 32 + t + vec4u(0, 8, 16, 24);
  if (m.x < sizes.M) { sums[m.x] = s.x; }
  if (m.y < sizes.M) { sums[m.y] = s.y; }
  if (m.z < sizes.M) { sums[m.z] = s.z; }
  if (m.w < sizes.M) { sums[m.w] = s.w; }
}

// 32 x 32, any strides.
fn sumTile(g: vec3u, t: u32) -> Tile {
  let origin = originOf(g);
  let m = g.y * 32;
  let n = g.x * 32 + t + vec4u(0, 8, 16, 24);
  var c0: Block; var c1: Block; var c2: Block; var c3: Block;
  var s = vec4f();
  var i0 = origin.a + rowOf(m + t);
  var i1 = origin.a + rowOf(m + 8 + t);
  var i2 = origin.a + rowOf(m + 16 + t);
  var i3 = origin.a + rowOf(m + 24 + t);
  var j = origin.b + columnsOf(n);
  for (var k = 0u; k < sizes.K; k++) {
    let w = vec4f(b[j.x], b[j.y], b[j.z], b[j.w]);
    j += sizes.bK;
    let x0 = a[i0]; let x1 = a[i1]; let x2 = a[i2]; let x3 = a[i3];
    s += vec4f(x0, x1, x2, x3);
    i0 += sizes.aK; i1 += sizes.aK; i2 += sizes.aK; i3 += sizes.aK;
    addOuter(&c0, x0, w);
    addOuter(&c1, x1, w);
    addOuter(&c2, x2, w);
    addOuter(&c3, x3, w);
  }
  return Tile(c0, c1, c2, c3, s);
}

@compute @workgroup_size(8)
fn tile(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  storeTile(g, sumTile(g, t), g.x * 32 + t + vec4u(0, 8, 16, 24));
}
@compute @workgroup_size(8)
fn tileAndSums(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let r = sumTile(g, t);
  storeTile(g, r, g.x * 32 + t + vec4u(0, 8, 16, 24));
  storeSums(g, r.sums, t);
}

// 32 x 32, rows of b without gaps and everything of b divisible by 4.
fn sumTileRows(g: vec3u, t: u32) -> Tile {
  let origin = originOf(g);
  let m = g.y * 32;
  let n = g.x * 32 + 4 * t;
  var c0: Block; var c1: Block; var c2: Block; var c3: Block;
  var s = vec4f();
  var i0 = origin.a + rowOf(m + t);
  var i1 = origin.a + rowOf(m + 8 + t);
  var i2 = origin.a + rowOf(m + 16 + t);
  var i3 = origin.a + rowOf(m + 24 + t);
  var j = (origin.b + min(n, sizes.N - 4)) / 4;
  let next = sizes.bK / 4;
  for (var k = 0u; k < sizes.K; k++) {
    let w = b4[j];
    j += next;
    let x0 = a[i0]; let x1 = a[i1]; let x2 = a[i2]; let x3 = a[i3];
    s += vec4f(x0, x1, x2, x3);
    i0 += sizes.aK; i1 += sizes.aK; i2 += sizes.aK; i3 += sizes.aK;
    addOuter(&c0, x0, w);
    addOuter(&c1, x1, w);
    addOuter(&c2, x2, w);
    addOuter(&c3, x3, w);
  }
  return Tile(c0, c1, c2, c3, s);
}

@compute @workgroup_size(8)
fn tileRows(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  storeTile(g, sumTileRows(g, t), g.x * 32 + 4 * t + vec4u(0, 1, 2, 3));
}
@compute @workgroup_size(8)
fn tileRowsAndSums(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let r = sumTileRows(g, t);
  storeTile(g, r, g.x * 32 + 4 * t + vec4u(0, 1, 2, 3));
  storeSums(g, r.sums, t);
}

// 16 x 32, rows of a and columns of b without gaps and everything divisible by 4. For long K: 32 rows at a stride
// of a power of two share few cache sets, and here each visit takes four elements.
@compute @workgroup_size(8)
fn tileInner(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let origin = originOf(g);
  let m = g.y * 16;
  let n = g.x * 32 + t + vec4u(0, 8, 16, 24);
  var c0: Block; var c1: Block;
  var i0 = (origin.a + rowOf(m + t)) / 4;
  var i1 = (origin.a + rowOf(m + 8 + t)) / 4;
  var j = (origin.b + columnsOf(n)) / 4;
  for (var k = 0u; k < sizes.K; k += 4) {
    let x0 = a4[i0]; let x1 = a4[i1];
    let w = transpose(mat4x4f(b4[j.x], b4[j.y], b4[j.z], b4[j.w]));
    addOuter(&c0, x0.x, w[0]); addOuter(&c1, x1.x, w[0]);
    addOuter(&c0, x0.y, w[1]); addOuter(&c1, x1.y, w[1]);
    addOuter(&c0, x0.z, w[2]); addOuter(&c1, x1.z, w[2]);
    addOuter(&c0, x0.w, w[3]); addOuter(&c1, x1.w, w[3]);
    i0++; i1++; j += 1;
  }
  storeRows(c0, origin.y, m, n);
  storeRows(c1, origin.y, m + 8, n);
}

// Eight rows of a small tile, two columns a lane.
struct Pair { r0: vec2f, r1: vec2f, r2: vec2f, r3: vec2f, r4: vec2f, r5: vec2f, r6: vec2f, r7: vec2f }

fn addSmall(c: ptr<function, Pair>, x: f32, w: vec2f) {
  (*c).r0 = fma(vec2f(subgroupBroadcast(x, 0u)), w, (*c).r0);
  (*c).r1 = fma(vec2f(subgroupBroadcast(x, 1u)), w, (*c).r1);
  (*c).r2 = fma(vec2f(subgroupBroadcast(x, 2u)), w, (*c).r2);
  (*c).r3 = fma(vec2f(subgroupBroadcast(x, 3u)), w, (*c).r3);
  (*c).r4 = fma(vec2f(subgroupBroadcast(x, 4u)), w, (*c).r4);
  (*c).r5 = fma(vec2f(subgroupBroadcast(x, 5u)), w, (*c).r5);
  (*c).r6 = fma(vec2f(subgroupBroadcast(x, 6u)), w, (*c).r6);
  (*c).r7 = fma(vec2f(subgroupBroadcast(x, 7u)), w, (*c).r7);
}
fn storeSmall(c: Pair, start: u32, m: u32, n: u32) {
  let add = vec2f(biasOf(n), biasOf(n + 8));
  storePair(c.r0, add, start, m, n);
  storePair(c.r1, add, start, m + 1, n);
  storePair(c.r2, add, start, m + 2, n);
  storePair(c.r3, add, start, m + 3, n);
  storePair(c.r4, add, start, m + 4, n);
  storePair(c.r5, add, start, m + 5, n);
  storePair(c.r6, add, start, m + 6, n);
  storePair(c.r7, add, start, m + 7, n);
}
fn storePair(v: vec2f, add: vec2f, start: u32, m: u32, n: u32) {
  if (m < sizes.M) {
    let row = start + m * sizes.yM;
    if (n < sizes.N) { y[row + n] = finish(v.x, add.x, row + n); }
    if (n + 8 < sizes.N) { y[row + n + 8] = finish(v.y, add.y, row + n + 8); }
  }
}

// 8 x 16, any strides: for attention over short sequences.
@compute @workgroup_size(8)
fn small(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let origin = originOf(g);
  let m = g.y * 8;
  let n = g.x * 16 + t;
  var c: Pair;
  var i = origin.a + rowOf(m + t);
  var j = origin.b + columnOf(n);
  var l = origin.b + columnOf(n + 8);
  for (var k = 0u; k < sizes.K; k++) {
    addSmall(&c, a[i], vec2f(b[j], b[l]));
    i += sizes.aK; j += sizes.bK; l += sizes.bK;
  }
  storeSmall(c, origin.y, m, n);
}

// 8 x 16, operands as for tileInner.
@compute @workgroup_size(8)
fn smallInner(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let origin = originOf(g);
  let m = g.y * 8;
  let n = g.x * 16 + t;
  var c: Pair;
  var i = (origin.a + rowOf(m + t)) / 4;
  var j = (origin.b + columnOf(n)) / 4;
  var l = (origin.b + columnOf(n + 8)) / 4;
  for (var k = 0u; k < sizes.K; k += 4) {
    let x = a4[i]; let v = b4[j]; let w = b4[l];
    addSmall(&c, x.x, vec2f(v.x, w.x));
    addSmall(&c, x.y, vec2f(v.y, w.y));
    addSmall(&c, x.z, vec2f(v.z, w.z));
    addSmall(&c, x.w, vec2f(v.w, w.w));
    i++; j++; l++;
  }
  storeSmall(c, origin.y, m, n);
}

// 8 x 32, operands as for tileRows.
@compute @workgroup_size(8)
fn smallRows(@builtin(workgroup_id) g: vec3u, @builtin(subgroup_invocation_id) t: u32) {
  let origin = originOf(g);
  let m = g.y * 8;
  let n = g.x * 32 + 4 * t;
  var c: Block;
  var i = origin.a + rowOf(m + t);
  var j = (origin.b + min(n, sizes.N - 4)) / 4;
  let next = sizes.bK / 4;
  for (var k = 0u; k < sizes.K; k++) {
    addOuter(&c, a[i], b4[j]);
    i += sizes.aK; j += next;
  }
  storeRows(c, origin.y, m, n + vec4u(0, 1, 2, 3));
}
