/** One launch for several of one kernel: its text, and the table that says what each member works on. */
import type { KernelInterface } from "./kernel.ts";

/** Launches in one at most: what the table has room for. A power of two. */
export const MAX_MEMBERS = 16;
/** Name of the entry point of a grouped kernel. */
export const GROUPED_ENTRY = "grouped";

/** An entry point, and which of its bindings others stand in for: those that lie in one written buffer. */
export interface GroupedEntry {
  readonly entry: string;
  readonly names: readonly string[];
  /** A name of `names` and the one whose binding it uses. */
  readonly shared: Readonly<Record<string, string>>;
}

/** A function of a kernel's text, from its attributes to its closing brace. */
interface WgslFunction {
  readonly name: string;
  readonly attributes: string;
  readonly parameters: string;
  /** From behind the parameters to the end. */
  readonly rest: string;
  readonly start: number;
  readonly end: number;
}

/** Where the bracket that opens at `at` closes. */
function closing(text: string, at: number): number {
  const open = text[at], close = { "(": ")", "[": "]", "{": "}" }[open] ?? "";
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text[i] === open) depth++;
    else if (text[i] === close && --depth === 0) return i;
  }
  return text.length;
}

function functionsOf(text: string): WgslFunction[] {
  return [...text.matchAll(/((?:@\w+(?:\([^)]*\))?\s+)*)\bfn\s+(\w+)\s*\(/g)].map((match) => {
    const [whole, attributes, name] = match;
    const open = match.index + whole.length - 1, close = closing(text, open);
    const end = closing(text, text.indexOf("{", close)) + 1;
    return {
      name,
      attributes,
      parameters: text.slice(open + 1, close),
      rest: text.slice(close + 1, end),
      start: match.index,
      end,
    };
  });
}

/** The functions that an entry point runs, itself included. */
function reachedFrom(entry: string, functions: readonly WgslFunction[]): WgslFunction[] {
  const reached = new Set(functions.filter(({ name }) => name === entry));
  for (const { rest } of reached) { // grows while it is walked
    for (const one of functions) if (new RegExp(`\\b${one.name}\\s*\\(`).test(rest)) reached.add(one);
  }
  return [...reached];
}

/** Comments keep their lines, so that a compiler's line numbers stay. */
const withoutComments = (text: string): string => text.replace(/\/\/[^\n]*/g, "");

/** Bytes of an element of an array binding; undefined for any other type. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ f32: 4, u32: 4, i32: 4 },
  ...{ vec4f: 16, vec4u: 16, vec4i: 16, "vec4<f32>": 16, "vec4<u32>": 16 },
};
export const elementBytes = (type: string): number | undefined =>
  ELEMENT_BYTES[/^array<(.+)>$/.exec(type)?.[1] ?? ""];

/**
 * Whether several launches of an entry point can be one: its bindings are arrays that are only indexed, by names that no
 * function hides, and it asks for nothing that a member could not be told.
 *
 * @param text The kernel's text with its preludes.
 */
export function canGroup(
  text: string,
  { bindings }: KernelInterface,
  entry: string,
  names: readonly string[],
) {
  const functions = reachedFrom(entry, functionsOf(withoutComments(text)));
  const parameters = functions.find(({ name }) => name === entry)?.parameters ?? "";
  const builtins = [...parameters.matchAll(/@builtin\((\w+)\)/g)].map(([, name]) => name);
  return builtins.every((name) => name in BUILTINS) && names.every((name) => {
    const type = bindings.get(name)?.type ?? "";
    return elementBytes(type) !== undefined && functions.every(({ parameters, rest }) => {
      const isHidden = new RegExp(`\\b${name}\\s*:`).test(parameters) ||
        new RegExp(`\\b(?:let|var|const)\\s+${name}\\b`).test(rest);
      const isIndexed = new RegExp(`\\b${name}\\s*\\[`).test(rest);
      const isUsedOtherwise = new RegExp(`&\\s*${name}\\b`).test(rest);
      return !isUsedOtherwise && !(isHidden && isIndexed);
    });
  });
}

/** What stands for a built-in value in a member; `own` is its workgroup's place in its grid. */
const BUILTINS: Readonly<Record<string, string>> = {
  workgroup_id: "own",
  num_workgroups: "vec3u(one.x, one.y, one.z)",
  global_invocation_id: "own * size + local",
  local_invocation_id: "local",
  local_invocation_index: "local_invocation_index",
  subgroup_invocation_id: "subgroup_invocation_id",
  subgroup_size: "subgroup_size",
};
/** Built-in values that are the same in a member as in the launch. */
const PASSED = ["local_invocation_index", "subgroup_invocation_id", "subgroup_size"];

/**
 * The text of a kernel whose launch does the work of several: each workgroup finds its member in a table. The functions are
 * the kernel's own; each takes the member's sizes and the first element of each of its bindings along, as values, since a
 * uniform that is read anew at each use costs more.
 */
export function groupedWgsl(text: string, { names, entry, shared }: GroupedEntry): string {
  const plain = withoutComments(text),
    functions = functionsOf(plain),
    reached = reachedFrom(entry, functions);
  const calls = new RegExp(`\\b(${reached.map(({ name }) => name).join("|")})\\s*\\(\\s*`, "g");
  let outside = "", end = 0;
  for (const one of functions) {
    outside += plain.slice(end, one.start);
    end = one.end;
  }
  outside += plain.slice(end);
  const written = reached.map(({ name, parameters, rest }) => {
    const own = parameters.replace(/@\w+(\([^)]*\))?/g, "").trim();
    const body = names.reduce((body, name) => fromBase(body, name, shared[name] ?? name), rest);
    return `fn ${name}(sizes: Sizes, memberBase: MemberBase, ${own})${
      body.replace(calls, "$1(sizes, memberBase, ")
    }`;
  });
  const { attributes, parameters } = reached[0];
  const builtins = [...parameters.matchAll(/@builtin\((\w+)\)/g)].map(([, name]) => name);
  const passed = PASSED.filter((name) => builtins.includes(name));
  const size = /@workgroup_size\(([^)]*)\)/.exec(attributes)?.[1] ?? "1";
  const sides = [...size.split(","), "1", "1"].slice(0, 3);
  return `${outside.replace(/@group\(1\)\s*@binding\(0\)[^;]*;/, "")}
struct MemberBase { ${names.map((name) => `${name}: u32`).join(", ")} }
struct Member { first: u32, x: u32, y: u32, z: u32, @align(16) base: MemberBase, @align(16) sizes: Sizes }
struct Members { count: u32, @align(16) list: array<Member, ${MAX_MEMBERS}> }
@group(1) @binding(0) var<uniform> members: Members;
// n / d, rounded down, of a workgroup's number: below 2^16, so that half of 1 / d outweighs all rounding. llvmpipe divides
// integers one after the other.
fn quotient(n: u32, d: u32) -> u32 { return u32((f32(n) + 0.5) / f32(d)); }
${written.join("\n")}
@compute @workgroup_size(${size})
fn ${GROUPED_ENTRY}(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_id) local: vec3u${
    passed.map((name) => `, @builtin(${name}) ${name}: u32`).join("")
  }) {
  var m = 0u;
  for (var step = ${MAX_MEMBERS / 2}u; step > 0u; step /= 2u) {
    if (m + step < members.count && members.list[m + step].first <= at.x) { m += step; }
  }
  let one = members.list[m];
  let i = at.x - one.first;
  let row = quotient(i, one.x);
  let plane = quotient(row, one.y);
  let own = vec3u(i - row * one.x, row - plane * one.y, plane);
  let size = vec3u(${sides.map((side) => `u32(${side.trim()})`).join(", ")});
  ${entry}(one.sizes, one.base, ${builtins.map((name) => BUILTINS[name]).join(", ")});
}
`;
}

/** A member as the table has it. */
export interface PackedMember {
  readonly grid: readonly [number, number, number];
  /** First element of each binding, in the order of `GroupedEntry.names`. */
  readonly bases: readonly number[];
  /** As `packSizes` gives them. */
  readonly sizes: ArrayBuffer;
}

/** The table of a launch's members, its workgroups, and the bytes that its binding shows: room for more members. */
export function packMembers(
  members: readonly PackedMember[],
): { readonly table: ArrayBuffer; readonly workgroups: number; readonly bytes: number } {
  const { bases: { length }, sizes } = members[0];
  const sizesAt = 4 + Math.ceil(length / 4) * 4, stride = sizesAt + sizes.byteLength / 4;
  const table = new Uint32Array(4 + members.length * stride);
  table[0] = members.length;
  let workgroups = 0;
  members.forEach(({ grid, bases, sizes }, m) => {
    table.set([workgroups, ...grid, ...bases], 4 + m * stride);
    table.set(new Uint32Array(sizes), 4 + m * stride + sizesAt);
    workgroups += grid.reduce((n, side) => n * side, 1);
  });
  return { table: table.buffer, workgroups, bytes: 16 + 4 * MAX_MEMBERS * stride };
}

/** Each `name[i]` becomes `binding[memberBase.name + (i)]`. */
function fromBase(text: string, name: string, binding: string): string {
  const access = new RegExp(`\\b${name}\\s*\\[`, "g");
  let result = "", end = 0;
  for (let match = access.exec(text); match; match = access.exec(text)) {
    const open = match.index + match[0].length - 1, close = closing(text, open);
    const index = fromBase(text.slice(open + 1, close), name, binding);
    result += `${text.slice(end, match.index)}${binding}[memberBase.${name} + (${index})]`;
    access.lastIndex = end = close + 1;
  }
  return result + text.slice(end);
}
