// Prelude reduce_subgroup: prelude reduce for devices whose subgroups have at least LANES lanes. The same tree, so the same
// bits: its upper levels are read from memory, the LANES / 2 and below go from lane to lane. Two barriers instead of eight.
// Not subgroupAdd, whose order is the driver's: an exchange of lanes at distance h adds what the tree adds, in either order.
// Every subgroup makes the result for itself. WG is 64; LANES is a power of two from 8 to 64, and invocation t of a workgroup
// is lane t % LANES of its part of a subgroup: so on every driver, for workgroups along one axis.
// All invocations must call.
override WG: u32 = 64;
override LANES: u32 = 8;
const LOWEST = -3.402823e38;
var<workgroup> lane: array<f32, WG>;

fn sum32(i: u32) -> f32 { return lane[i] + lane[i + 32u]; }
fn sum16(i: u32) -> f32 { return sum32(i) + sum32(i + 16u); }
fn sum8(i: u32) -> f32 { return sum16(i) + sum16(i + 8u); }
fn sumWorkgroup(v: f32, t: u32) -> f32 {
  var s = v;
  if (LANES < WG) {
    lane[t] = v;
    workgroupBarrier();
    let i = t % LANES;
    if (LANES == 32u) { s = sum32(i); } else if (LANES == 16u) { s = sum16(i); } else { s = sum8(i); }
    workgroupBarrier(); // protects the next use of `lane`
  }
  for (var h = LANES / 2u; h > 0u; h /= 2u) { s += subgroupShuffleXor(s, h); }
  return s;
}

fn max32(i: u32) -> f32 { return max(lane[i], lane[i + 32u]); }
fn max16(i: u32) -> f32 { return max(max32(i), max32(i + 16u)); }
fn max8(i: u32) -> f32 { return max(max16(i), max16(i + 8u)); }
fn maxWorkgroup(v: f32, t: u32) -> f32 {
  var m = v;
  if (LANES < WG) {
    lane[t] = v;
    workgroupBarrier();
    let i = t % LANES;
    if (LANES == 32u) { m = max32(i); } else if (LANES == 16u) { m = max16(i); } else { m = max8(i); }
    workgroupBarrier();
  }
  for (var h = LANES / 2u; h > 0u; h /= 2u) { m = max(m, subgroupShuffleXor(m, h)); }
  return m;
}
