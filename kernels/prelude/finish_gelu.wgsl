// Prelude finish_gelu: in place of finish, where gelu of a matrix product is stored beside it. Needs prelude math.
override lastStep: u32 = 0; // none: what takes a product with gelu takes no other

// What is stored as element i.
fn finish(v: f32, add: f32, i: u32) -> f32 {
  let r = fma(v, sizes.scale, add);
  activated[i] = gelu(r);
  return r;
}
