// Prelude grid: a grid above 65,535 workgroups is folded into y.
fn flatGroup(g: vec3u, n: vec3u) -> u32 { return g.y * n.x + g.x; }
