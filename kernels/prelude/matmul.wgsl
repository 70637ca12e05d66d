// Prelude matmul: where a tile of a matrix product starts and how it is stored. It reads `sizes`, `bias` and `other` of the
// file and writes its `y`; `Sizes` as in matmul.wgsl. Needs prelude finish or finish_gelu.

// First elements of the matrices that a workgroup works on.
struct Origin { a: u32, b: u32, y: u32 }
fn originOf(g: vec3u) -> Origin {
  let z = sizes.z0 + g.z;
  let outer = z / sizes.inner;
  let inner = z - outer * sizes.inner;
  return Origin(
    outer * sizes.aOuter + inner * sizes.aInner,
    outer * sizes.bOuter + inner * sizes.bInner,
    outer * sizes.yOuter + inner * sizes.yInner,
  );
}

// Past the edge a tile reads the last row or column again and stores nothing.
fn rowsOf(m: vec4u) -> vec4u { return min(m, vec4u(sizes.M - 1)) * sizes.aM; }
fn rowOf(m: u32) -> u32 { return min(m, sizes.M - 1) * sizes.aM; }
fn columnsOf(n: vec4u) -> vec4u { return min(n, vec4u(sizes.N - 1)) * sizes.bN; }
fn columnOf(n: u32) -> u32 { return min(n, sizes.N - 1) * sizes.bN; }

// Eight rows of a tile, four columns a lane.
struct Block { r0: vec4f, r1: vec4f, r2: vec4f, r3: vec4f, r4: vec4f, r5: vec4f, r6: vec4f, r7: vec4f }

fn storeBlock(c: Block, start: u32, m: u32, n: vec4u) {
  let add = vec4f(biasOf(n.x), biasOf(n.y), biasOf(n.z), biasOf(n.w));
  storeRow(c.r0, add, start, m, n);
  storeRow(c.r1, add, start, m + 1, n);
  storeRow(c.r2, add, start, m + 2, n);
  storeRow(c.r3, add, start, m + 3, n);
  storeRow(c.r4, add, start, m + 4, n);
  storeRow(c.r5, add, start, m + 5, n);
  storeRow(c.r6, add, start, m + 6, n);
  storeRow(c.r7, add, start, m + 7, n);
}
fn storeRow(v: vec4f, add: vec4f, start: u32, m: u32, n: vec4u) {
  if (m < sizes.M) {
    let i = start + m * sizes.yM + n;
    if (n.x < sizes.N) { y[i.x] = finish(v.x, add.x, i.x); }
    if (n.y < sizes.N) { y[i.y] = finish(v.y, add.y, i.y); }
    if (n.z < sizes.N) { y[i.z] = finish(v.z, add.z, i.z); }
    if (n.w < sizes.N) { y[i.w] = finish(v.w, add.w, i.w); }
  }
}
fn biasOf(n: u32) -> f32 {
  if (sizes.hasBias == 1) { return bias[min(n, sizes.N - 1)]; }
  return 0;
}
