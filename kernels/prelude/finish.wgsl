// Prelude finish: what of a matrix product is stored. Needs prelude math.
// What is done last with `other`. 0: nothing, 1: it is added, 2: its slope of gelu is multiplied by. Fixed with the
// pipeline: llvmpipe runs both sides of a branch on `sizes`.
override lastStep: u32 = 0;

// What is stored as element i.
fn finish(v: f32, add: f32, i: u32) -> f32 {
  let r = fma(v, sizes.scale, add);
  let activated = select(r, max(r, 0), sizes.isRelu == 1);
  if (lastStep == 1) { return activated + other[i]; }
  if (lastStep == 2) { return activated * geluSlope(other[i]); }
  return activated;
}
