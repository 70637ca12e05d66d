// Prelude math: functions that WGSL lacks, or gives only roughly.

// exp to 2 epsilons at every x (WGSL allows 3 + 2|x|, and software drivers use it: 16 at x = -29).
// exp(x) = 2^n exp(r), r = x - n ln 2 in [-0.347, 0.347], exp(r) = 1 + r + r^2 P(r), P minimax (error 3e-9).
fn accurateExp(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) { return x; } // NaN: the clamp would lose it
  let v = clamp(x, -104.0, 89.0); // beyond: 0 and infinity
  let n = i32(round(v * 1.44269504));
  // ln 2 = 45426 / 2^16 + 1.42860677e-6: the first product is exact. Through integers, since a compiler may
  // join n * a + n * b to n * (a + b), which would lose just what the split is for.
  let r = (v - f32(n * 45426) * 1.52587890625e-5) - f32(n) * 1.42860677e-6;
  let p = (((0.0013814602 * r + 0.00836871521) * r + 0.0416683879) * r + 0.166665206) * r + 0.499999934;
  let half = n >> 1u; // in two factors: 2^n alone may not be representable where exp(x) is
  return (1.0 + (r + r * r * p)) * powerOfTwo(half) * powerOfTwo(n - half);
}
fn powerOfTwo(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }

// Normal distribution Phi, through its tail Phi(-|x|) = e(x) u P(u),
// e(x) = exp(-x^2 / 2), u = 1 / (1 + 0.35 |x|), P minimax on all x (relative error 4.4e-8).
// So no cancellation for negative x: 1 + erf(x / sqrt 2) has one.
fn normalCdf(x: f32, e: f32) -> f32 { // e = e(x)
  let u = 1.0 / (1.0 + 0.35 * abs(x));
  var p = -0.0285311099;
  p = p * u + 0.141272323;
  p = p * u - 0.250737585;
  p = p * u + 0.154166232;
  p = p * u - 0.0201176689;
  p = p * u + 0.104427477;
  p = p * u + 0.12006172;
  p = p * u + 0.139836045;
  p = p * u + 0.139622586;
  let tail = e * u * p;
  return select(1.0 - tail, tail, x < 0.0);
}
// gelu(x) = x Phi(x), the form with erf.
fn gelu(x: f32) -> f32 { return x * normalCdf(x, exp(-0.5 * x * x)); }
// gelu'(x) = Phi(x) + x e(x) / sqrt(2 pi)
fn geluSlope(x: f32) -> f32 {
  let e = exp(-0.5 * x * x);
  return normalCdf(x, e) + 0.398942280 * x * e;
}
// s(x) = 1 / (1 + e^-x) and its slope s(x) s(-x), from e^-|x|: no overflow, and no 1 - s, which loses all digits.
fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
fn sigmoidSlope(x: f32) -> f32 {
  let e = exp(-abs(x));
  return e / ((1.0 + e) * (1.0 + e));
}
// quickGelu(x) = x s(1.702 x), as in CLIP.
fn quickGelu(x: f32) -> f32 { return x * sigmoid(1.702 * x); }
fn quickGeluSlope(x: f32) -> f32 { return sigmoid(1.702 * x) + 1.702 * x * sigmoidSlope(1.702 * x); }
