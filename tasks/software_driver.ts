/** How to install a software Vulkan driver on a given machine: decided from facts, as plain data. Nothing runs here. */

/** What the decision depends on. */
export interface Machine {
  os: typeof Deno.build.os;
  /** Text of `/etc/os-release`; empty where there is none. */
  osRelease: string;
  /** Texts of the files that name apt's package sources. */
  aptSources: readonly string[];
  isRoot: boolean;
  /** `sudo` works without asking for a password. */
  canSudo: boolean;
  isTerminal: boolean;
  /** `CALA_NO_SETUP=1`. */
  noSetup: boolean;
}

/** One command. */
export interface Step {
  argv: readonly string[];
  /** What it reads. */
  stdin?: string;
}

/** Commands that install the driver, and what takes them back if one of them fails. */
export interface Recipe {
  steps: readonly Step[];
  undo: readonly Step[];
}

/** Either recipes to run, each if the one before it failed; or what a person has to do. */
export type Decision =
  | { kind: "install"; asksFirst: boolean; recipes: readonly Recipe[] }
  | { kind: "manual"; why: string; fix: string };

const packages = ["mesa-vulkan-drivers", "libvulkan1"]; // lavapipe, and the loader that finds it
// A second apt may be running at boot: wait for it.
const aptGet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"];
const backportsFile = "/etc/apt/sources.list.d/cala-backports.sources";

/** Decides how this machine gets a driver. It is asked only where no adapter was found. */
export function decide(machine: Machine): Decision {
  if (machine.os !== "linux") {
    return {
      kind: "manual",
      why: `on ${machine.os} the system's own graphics driver provides it`,
      fix: "update that driver",
    };
  }
  const release = parseOsRelease(machine.osRelease);
  const family = [release.ID, ...(release.ID_LIKE ?? "").split(" ")];
  if (!family.includes("debian") && !family.includes("ubuntu")) {
    return {
      kind: "manual",
      why: `this step knows Debian and Ubuntu, not ${release.PRETTY_NAME ?? "this system"}`,
      fix: commandElsewhere(family),
    };
  }
  const recipes = aptRecipes(release, machine.aptSources);
  const asUser = recipes.map((recipe) => ({
    steps: recipe.steps.map(withSudo),
    undo: recipe.undo.map(withSudo),
  }));
  const fix = asUser[0].steps.map(showStep).join("\n");
  if (machine.noSetup) return { kind: "manual", why: "CALA_NO_SETUP forbids to install one", fix };
  if (!machine.isRoot && !machine.canSudo) {
    return { kind: "manual", why: "installing one takes root or sudo without a password", fix };
  }
  return { kind: "install", asksFirst: machine.isTerminal, recipes: machine.isRoot ? recipes : asUser };
}

/** `KEY=value` lines, quotes removed. */
export function parseOsRelease(text: string): Partial<Record<string, string>> {
  const lines = text.matchAll(/^([A-Z_]+)=(?:"(.*)"|'(.*)'|(.*))$/gm);
  return Object.fromEntries(
    [...lines].map(([, key, ...values]) => [key, values.find((v) => v !== undefined)]),
  );
}

function commandElsewhere(family: readonly (string | undefined)[]): string {
  if (family.includes("fedora")) return "sudo dnf install mesa-vulkan-drivers vulkan-loader";
  if (family.includes("arch")) return "sudo pacman -S vulkan-swrast vulkan-icd-loader";
  return "install the Vulkan loader (libvulkan.so.1) and Mesa's software driver lavapipe with your package manager";
}

/**
 * On Debian 12 the driver comes from backports (Mesa 25 where the release has 22), from the mirror that the machine
 * already uses; where that fails, and everywhere else, from the release itself.
 */
function aptRecipes(release: Partial<Record<string, string>>, sources: readonly string[]): Recipe[] {
  const update = { argv: [...aptGet, "update"] };
  const install = (...options: string[]) => ({
    argv: [...aptGet, "install", "-y", "--no-install-recommends", ...options, ...packages],
  });
  const stock: Recipe = { steps: [update, install()], undo: [] };
  if (release.ID !== "debian" || release.VERSION_CODENAME !== "bookworm") return [stock];

  const stanzas = sources.flatMap(parseSources);
  const fromBackports = install("-t", "bookworm-backports");
  if (stanzas.some((stanza) => stanza.suites.includes("bookworm-backports"))) {
    return [{ steps: [update, fromBackports], undo: [] }, stock];
  }
  const main = stanzas.find((stanza) =>
    stanza.suites.includes("bookworm") && stanza.components.includes("main")
  );
  if (!main) return [stock];
  const text = [
    "Types: deb",
    `URIs: ${main.uris}`,
    "Suites: bookworm-backports",
    "Components: main",
    ...(main.signedBy ? [`Signed-By: ${main.signedBy}`] : []),
  ].join("\n") + "\n";
  return [{
    steps: [{ argv: ["tee", backportsFile], stdin: text }, update, fromBackports],
    undo: [{ argv: ["rm", "-f", backportsFile] }],
  }, stock];
}

/** A package source of apt. */
export interface AptSource {
  uris: string;
  suites: string[];
  components: string[];
  /** A key file, or a key with its continuation lines. */
  signedBy?: string;
}

/** Reads a file of apt sources, in deb822 form (`*.sources`) or with one source a line (`*.list`). */
export function parseSources(text: string): AptSource[] {
  const found: AptSource[] = [];
  for (
    const [, options, uris, suite, components] of text.matchAll(
      /^deb[ \t]+(?:\[(.*?)\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]*(.*)$/gm,
    )
  ) {
    const signedBy = /signed-by=(\S+)/.exec(options ?? "")?.[1];
    found.push({ uris, suites: [suite], components: components.split(/\s+/), signedBy });
  }
  const lines = text.split(/\r?\n/).filter((line) => !line.startsWith("#"));
  for (const stanza of lines.join("\n").split(/\n[ \t]*\n/)) {
    const fields = new Map<string, string>();
    for (const [, key, value] of stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
      fields.set(key.toLowerCase(), value.trimEnd());
    }
    const words = (key: string) => (fields.get(key) ?? "").split(/\s+/).filter(Boolean);
    const uris = words("uris").join(" ");
    if (!uris || !words("types").includes("deb") || fields.get("enabled") === "no") continue;
    found.push({
      uris,
      suites: words("suites"),
      components: words("components"),
      signedBy: fields.get("signed-by"),
    });
  }
  return found;
}

const withSudo = (step: Step): Step => ({ ...step, argv: ["sudo", "-n", ...step.argv] });

/** A step as a person types it into a shell. */
export function showStep({ argv, stdin }: Step): string {
  const quote = (word: string) => /^[\w./:=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  // sudo may ask the person who types it.
  const command = argv.map(quote).join(" ").replace(/^sudo -n /, "sudo ");
  if (stdin === undefined) return command;
  return `printf '%s\\n' ${stdin.trimEnd().split("\n").map(quote).join(" ")} | ${command}`;
}
