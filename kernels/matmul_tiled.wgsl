// Matrix product for GPUs: tiles in workgroup memory.
//   y[z] = last(activation(scale * a[z] b[z] + bias), other[z])    [M, N], K terms, f32; z = (outer, inner)
// 64 invocations a workgroup. `tile64`: 64 x 64, 8 x 8 an invocation, 8 terms a step. `tile32`: 32 x 32, 4 x 4 an
// invocation, 16 terms a step: for products with too few large tiles to fill a GPU. While a step is summed, the next one
// is loaded into registers, then written to the other half of the workgroup memory: one barrier a step.
// An invocation loads eight elements that lie along K where that is the axis without gaps, else along M or N;
// `tile64Fours` loads them as two vec4s, where everything divides by 4.
// Each element is one sum of fused multiply-adds in the order of K: the same bits as matmul.wgsl.
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
@group(0) @binding(0) var<storage, read> a4: array<vec4f>;    // the same, four at a time along the axis without gaps
@group(0) @binding(1) var<storage, read> b: array<f32>;       // [outer, inner, K, N], any strides
@group(0) @binding(1) var<storage, read> b4: array<vec4f>;    // the same, four at a time along the axis without gaps
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [N]; not read where hasBias is 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [outer, inner, M, N], rows without gaps
@group(0) @binding(4) var<storage, read> other: array<f32>;   // like y; not read where the last step is none
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // [M]: of the rows of a, in the order of K
@group(0) @binding(6) var<storage, read_write> activated: array<f32>; // like y: its gelu, by prelude finish_gelu

// Two halves of 8 x 16 or 16 x 8 vec4s: [half][k][m / 4] and [half][k][n / 4].
var<workgroup> aTile: array<vec4f, 256>;
var<workgroup> bTile: array<vec4f, 256>;

// Eight elements of an operand, at `at` and on along the axis that was chosen. Terms behind K are zero.
struct Eight { lo: vec4f, hi: vec4f }
// Where an invocation loads: first row (or column) and first term in the tile, and whether it goes along K.
struct Walk { row: u32, k: u32, alongK: bool }

fn walkOf(t: u32, alongK: bool, width: u32) -> Walk {
  // Along K: `width` rows, then the next eight terms. Along the rows: width / 8 groups of eight, then the next term.
  if (alongK) { return Walk(t % width, t / width * 8, true); }
  return Walk(t % (width / 8) * 8, t / (width / 8), false);
}

fn loadA(start: u32, m: u32, k: u32, alongK: bool) -> Eight {
  if (alongK) {
    let i = start + rowOf(m);
    return Eight(vec4f(aAt(i, k), aAt(i, k + 1), aAt(i, k + 2), aAt(i, k + 3)),
                 vec4f(aAt(i, k + 4), aAt(i, k + 5), aAt(i, k + 6), aAt(i, k + 7)));
  }
  let i = start + rowsOf(m + vec4u(0, 1, 2, 3));
  let j = start + rowsOf(m + vec4u(4, 5, 6, 7));
  return Eight(vec4f(aAt(i.x, k), aAt(i.y, k), aAt(i.z, k), aAt(i.w, k)),
               vec4f(aAt(j.x, k), aAt(j.y, k), aAt(j.z, k), aAt(j.w, k)));
}
fn loadB(start: u32, n: u32, k: u32, alongK: bool) -> Eight {
  if (alongK) {
    let i = start + columnOf(n);
    return Eight(vec4f(bAt(i, k), bAt(i, k + 1), bAt(i, k + 2), bAt(i, k + 3)),
                 vec4f(bAt(i, k + 4), bAt(i, k + 5), bAt(i, k + 6), bAt(i, k + 7)));
  }
  let i = start + columnsOf(n + vec4u(0, 1, 2, 3));
  let j = start + columnsOf(n + vec4u(4, 5, 6, 7));
  return Eight(vec4f(bAt(i.x, k), bAt(i.y, k), bAt(i.z, k), bAt(i.w, k)),
               vec4f(bAt(j.x, k), bAt(j.y, k), bAt(j.z, k), bAt(j.w, k)));
}
fn aAt(row: u32, k: u32) -> f32 {
  if (k < sizes.K) { return a[row + k * sizes.aK]; }
  return 0;
}
fn bAt(column: u32, k: u32) -> f32 {
  if (k < sizes.K) { return b[column + k * sizes.bK]; }
  return 0;
}

// The same by fours.
fn load4A(start: u32, m: u32, k: u32, alongK: bool) -> Eight {
  if (alongK) {
    let i = (start + rowOf(m) + k) / 4;
    return Eight(a4At(i, k), a4At(i + 1, k + 4));
  }
  let i = start + k * sizes.aK;
  return Eight(a4At((i + min(m, sizes.M - 4)) / 4, k), a4At((i + min(m + 4, sizes.M - 4)) / 4, k));
}
fn load4B(start: u32, n: u32, k: u32, alongK: bool) -> Eight {
  if (alongK) {
    let i = (start + columnOf(n) + k) / 4;
    return Eight(b4At(i, k), b4At(i + 1, k + 4));
  }
  let i = start + k * sizes.bK;
  return Eight(b4At((i + min(n, sizes.N - 4)) / 4, k), b4At((i + min(n + 4, sizes.N - 4)) / 4, k));
}
fn a4At(i: u32, k: u32) -> vec4f {
  if (k < sizes.K) { return a4[i]; }
  return vec4f();
}
fn b4At(i: u32, k: u32) -> vec4f {
  if (k < sizes.K) { return b4[i]; }
  return vec4f();
}

// Writes eight elements into a half of a tile that is `fours` vec4s wide.
fn keepA(v: Eight, w: Walk, half: u32, fours: u32) {
  let i = half + w.k * fours + w.row / 4;
  if (w.alongK) {
    let lane = w.row % 4;
    for (var k = 0u; k < 4u; k++) { aTile[i + k * fours][lane] = v.lo[k]; aTile[i + (k + 4) * fours][lane] = v.hi[k]; }
  } else {
    aTile[i] = v.lo;
    aTile[i + 1] = v.hi;
  }
}
fn keepB(v: Eight, w: Walk, half: u32, fours: u32) {
  let i = half + w.k * fours + w.row / 4;
  if (w.alongK) {
    let lane = w.row % 4;
    for (var k = 0u; k < 4u; k++) { bTile[i + k * fours][lane] = v.lo[k]; bTile[i + (k + 4) * fours][lane] = v.hi[k]; }
  } else {
    bTile[i] = v.lo;
    bTile[i + 1] = v.hi;
  }
}

// Columns from 4 (t % 8) and from 32 more.
struct Tile64 { left: Block, right: Block, sums0: vec4f, sums1: vec4f } // sums of the eight rows of a
// Adds eight terms, which lie in a half of the workgroup memory.
fn addTile64(c: ptr<function, Tile64>, half: u32, t: u32) {
  for (var k = 0u; k < 8u; k++) {
    let i = half + k * 16;
    let a0 = aTile[i + t / 8 * 2]; let a1 = aTile[i + t / 8 * 2 + 1];
    (*c).sums0 += a0; (*c).sums1 += a1;
    let b0 = bTile[i + t % 8]; let b1 = bTile[i + t % 8 + 8];
    let x0 = vec4f(a0.x); (*c).left.r0 = fma(x0, b0, (*c).left.r0); (*c).right.r0 = fma(x0, b1, (*c).right.r0);
    let x1 = vec4f(a0.y); (*c).left.r1 = fma(x1, b0, (*c).left.r1); (*c).right.r1 = fma(x1, b1, (*c).right.r1);
    let x2 = vec4f(a0.z); (*c).left.r2 = fma(x2, b0, (*c).left.r2); (*c).right.r2 = fma(x2, b1, (*c).right.r2);
    let x3 = vec4f(a0.w); (*c).left.r3 = fma(x3, b0, (*c).left.r3); (*c).right.r3 = fma(x3, b1, (*c).right.r3);
    let x4 = vec4f(a1.x); (*c).left.r4 = fma(x4, b0, (*c).left.r4); (*c).right.r4 = fma(x4, b1, (*c).right.r4);
    let x5 = vec4f(a1.y); (*c).left.r5 = fma(x5, b0, (*c).left.r5); (*c).right.r5 = fma(x5, b1, (*c).right.r5);
    let x6 = vec4f(a1.z); (*c).left.r6 = fma(x6, b0, (*c).left.r6); (*c).right.r6 = fma(x6, b1, (*c).right.r6);
    let x7 = vec4f(a1.w); (*c).left.r7 = fma(x7, b0, (*c).left.r7); (*c).right.r7 = fma(x7, b1, (*c).right.r7);
  }
}
fn sumTile64(g: vec3u, t: u32) -> Tile64 {
  let origin = originOf(g);
  let m = g.y * 64;
  let n = g.x * 64;
  let walkA = walkOf(t, sizes.aK == 1, 64);
  let walkB = walkOf(t, sizes.bK == 1, 64);
  var c: Tile64;
  keepA(loadA(origin.a, m + walkA.row, walkA.k, walkA.alongK), walkA, 0, 16);
  keepB(loadB(origin.b, n + walkB.row, walkB.k, walkB.alongK), walkB, 0, 16);
  var half = 0u;
  for (var k0 = 0u; k0 < sizes.K; k0 += 8u) {
    workgroupBarrier();
    let nextA = loadA(origin.a, m + walkA.row, k0 + 8 + walkA.k, walkA.alongK);
    let nextB = loadB(origin.b, n + walkB.row, k0 + 8 + walkB.k, walkB.alongK);
    addTile64(&c, half, t);
    half = 128 - half;
    keepA(nextA, walkA, half, 16);
    keepB(nextB, walkB, half, 16);
  }
  return c;
}
fn sumTile64Fours(g: vec3u, t: u32) -> Tile64 {
  let origin = originOf(g);
  let m = g.y * 64;
  let n = g.x * 64;
  let walkA = walkOf(t, sizes.aK == 1, 64);
  let walkB = walkOf(t, sizes.bK == 1, 64);
  var c: Tile64;
  keepA(load4A(origin.a, m + walkA.row, walkA.k, walkA.alongK), walkA, 0, 16);
  keepB(load4B(origin.b, n + walkB.row, walkB.k, walkB.alongK), walkB, 0, 16);
  var half = 0u;
  for (var k0 = 0u; k0 < sizes.K; k0 += 8u) {
    workgroupBarrier();
    let nextA = load4A(origin.a, m + walkA.row, k0 + 8 + walkA.k, walkA.alongK);
    let nextB = load4B(origin.b, n + walkB.row, k0 + 8 + walkB.k, walkB.alongK);
    addTile64(&c, half, t);
    half = 128 - half;
    keepA(nextA, walkA, half, 16);
    keepB(nextB, walkB, half, 16);
  }
  return c;
}
fn storeTile64(g: vec3u, r: Tile64, t: u32) {
  let start = originOf(g).y;
  let m = g.y * 64 + t / 8 * 8;
  let n = g.x * 64 + t % 8 * 4 + vec4u(0, 1, 2, 3);
  storeBlock(r.left, start, m, n);
  storeBlock(r.right, start, m, n + 32);
}
// Stores the sums of rows m to m + 3: one invocation of those that have them.
fn storeSums(g: vec3u, s: vec4f, t: u32, m: u32) {
  if (g.x > 0 || t % 8 > 0) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (m + i < sizes.M) { sums[m + i] = s[i]; }
  }
}

@compute @workgroup_size(64)
fn tile64(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  storeTile64(g, sumTile64(g, t), t);
}
@compute @workgroup_size(64)
fn tile64AndSums(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  let r = sumTile64(g, t);
  storeTile64(g, r, t);
  storeSums(g, r.sums0, t, g.y * 64 + t / 8 * 8);
  storeSums(g, r.sums1, t, g.y * 64 + t / 8 * 8 + 4);
}

@compute @workgroup_size(64)
fn tile64Fours(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  storeTile64(g, sumTile64Fours(g, t), t);
}
@compute @workgroup_size(64)
fn tile64FoursAndSums(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  let r = sumTile64Fours(g, t);
  storeTile64(g, r, t);
  storeSums(g, r.sums0, t, g.y * 64 + t / 8 * 8);
  storeSums(g, r.sums1, t, g.y * 64 + t / 8 * 8 + 4);
}

struct Tile32 { r0: vec4f, r1: vec4f, r2: vec4f, r3: vec4f, sums: vec4f }
fn sumTile32(g: vec3u, t: u32) -> Tile32 {
  let origin = originOf(g);
  let m = g.y * 32;
  let n = g.x * 32;
  let walkA = walkOf(t, sizes.aK == 1, 32);
  let walkB = walkOf(t, sizes.bK == 1, 32);
  let ty = t / 8;
  let tx = t % 8;
  var c: Tile32;
  keepA(loadA(origin.a, m + walkA.row, walkA.k, walkA.alongK), walkA, 0, 8);
  keepB(loadB(origin.b, n + walkB.row, walkB.k, walkB.alongK), walkB, 0, 8);
  var half = 0u;
  for (var k0 = 0u; k0 < sizes.K; k0 += 16u) {
    workgroupBarrier();
    let nextA = loadA(origin.a, m + walkA.row, k0 + 16 + walkA.k, walkA.alongK);
    let nextB = loadB(origin.b, n + walkB.row, k0 + 16 + walkB.k, walkB.alongK);
    for (var k = 0u; k < 16u; k++) {
      let i = half + k * 8;
      let a0 = aTile[i + ty];
      c.sums += a0;
      let b0 = bTile[i + tx];
      let x0 = vec4f(a0.x); c.r0 = fma(x0, b0, c.r0);
      let x1 = vec4f(a0.y); c.r1 = fma(x1, b0, c.r1);
      let x2 = vec4f(a0.z); c.r2 = fma(x2, b0, c.r2);
      let x3 = vec4f(a0.w); c.r3 = fma(x3, b0, c.r3);
    }
    half = 128 - half;
    keepA(nextA, walkA, half, 8);
    keepB(nextB, walkB, half, 8);
  }
  return c;
}
fn storeTile32(g: vec3u, c: Tile32, t: u32) {
  let start = originOf(g).y;
  let m = g.y * 32 + t / 8 * 4;
  let columns = g.x * 32 + t % 8 * 4 + vec4u(0, 1, 2, 3);
  let add = vec4f(biasOf(columns.x), biasOf(columns.y), biasOf(columns.z), biasOf(columns.w));
  storeRow(c.r0, add, start, m, columns);
  storeRow(c.r1, add, start, m + 1, columns);
  storeRow(c.r2, add, start, m + 2, columns);
  storeRow(c.r3, add, start, m + 3, columns);
}

@compute @workgroup_size(64)
fn tile32(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  storeTile32(g, sumTile32(g, t), t);
}
@compute @workgroup_size(64)
fn tile32AndSums(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  let c = sumTile32(g, t);
  storeTile32(g, c, t);
  storeSums(g, c.sums, t, g.y * 32 + t / 8 * 4);
}
