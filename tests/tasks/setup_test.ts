import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  decide,
  type Decision,
  type Machine,
  parseOsRelease,
  parseSources,
  showStep,
} from "../../tasks/software_driver.ts";

const debian12 =
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n';
const ubuntu = 'PRETTY_NAME="Ubuntu 24.04 LTS"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n';
const sources = `Types: deb
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/some.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`;
const machine: Machine = {
  os: "linux",
  osRelease: debian12,
  aptSources: [sources],
  isRoot: true,
  canSudo: false,
  isTerminal: false,
  noSetup: false,
};
const commands = (decision: Decision) => {
  ok(decision.kind === "install", JSON.stringify(decision));
  return decision.recipes.map(({ steps }) => steps.map(showStep));
};
const apt = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120";
const stock = [`${apt} update`, `${apt} install -y --no-install-recommends mesa-vulkan-drivers libvulkan1`];
const backports = [
  `${apt} update`,
  `${apt} install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1`,
];

Deno.test("setup takes the driver from backports on Debian 12, from the machine's own mirror, else from the release", () => {
  const decision = decide(machine);
  const [first, second] = commands(decision);
  deepStrictEqual(first.slice(1), backports);
  deepStrictEqual(second, stock);
  ok(decision.kind === "install");
  const [{ steps, undo }] = decision.recipes;
  deepStrictEqual(steps[0], {
    argv: ["tee", "/etc/apt/sources.list.d/cala-backports.sources"],
    stdin: `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/some.gpg
`,
  });
  deepStrictEqual(undo, [{ argv: ["rm", "-f", "/etc/apt/sources.list.d/cala-backports.sources"] }]);
});

Deno.test("setup adds no source where backports are known, or no mirror is", () => {
  const known = sources.replace("bookworm-updates", "bookworm-updates bookworm-backports");
  deepStrictEqual(commands(decide({ ...machine, aptSources: [known] })), [backports, stock]);
  deepStrictEqual(
    commands(decide({ ...machine, aptSources: ["", "deb http://m/d bookworm-backports main"] })),
    [backports, stock],
  );
  deepStrictEqual(commands(decide({ ...machine, aptSources: [] })), [stock]);
});

Deno.test("setup installs the release's driver on Ubuntu and on systems that are like it", () => {
  deepStrictEqual(commands(decide({ ...machine, osRelease: ubuntu })), [stock]);
  deepStrictEqual(commands(decide({ ...machine, osRelease: "ID=linuxmint\nID_LIKE='ubuntu debian'\n" })), [
    stock,
  ]);
});

Deno.test("setup uses sudo where it may, and tells the commands where it may not", () => {
  const [first] = commands(decide({ ...machine, osRelease: ubuntu, isRoot: false, canSudo: true }));
  deepStrictEqual(first, stock.map((command) => `sudo ${command}`));
  const decision = decide({ ...machine, osRelease: ubuntu, isRoot: false, canSudo: true });
  ok(decision.kind === "install");
  deepStrictEqual(
    decision.recipes[0].steps[0].argv.slice(0, 3),
    ["sudo", "-n", "env"],
    "never waits for a password",
  );

  deepStrictEqual(decide({ ...machine, osRelease: ubuntu, isRoot: false }), {
    kind: "manual",
    why: "installing one takes root or sudo without a password",
    fix: stock.map((command) => `sudo ${command}`).join("\n"),
  });
});

Deno.test("setup asks on a terminal only, and installs nothing under CALA_NO_SETUP", () => {
  const asks = (isTerminal: boolean) => {
    const decision = decide({ ...machine, isTerminal });
    return decision.kind === "install" && decision.asksFirst;
  };
  strictEqual(asks(true), true);
  strictEqual(asks(false), false);
  for (const isTerminal of [true, false]) {
    const decision = decide({ ...machine, osRelease: ubuntu, isTerminal, noSetup: true });
    deepStrictEqual(decision, {
      kind: "manual",
      why: "CALA_NO_SETUP forbids to install one",
      fix: stock.map((command) => `sudo ${command}`).join("\n"),
    });
  }
});

Deno.test("setup prints what to do elsewhere", () => {
  const elsewhere = (osRelease: string, os: Machine["os"] = "linux") => {
    const decision = decide({ ...machine, osRelease, os });
    ok(decision.kind === "manual");
    return decision;
  };
  strictEqual(
    elsewhere("ID=fedora\nPRETTY_NAME='Fedora Linux 42'\n").why,
    "this step knows Debian and Ubuntu, not Fedora Linux 42",
  );
  strictEqual(elsewhere("ID=fedora\n").fix, "sudo dnf install mesa-vulkan-drivers vulkan-loader");
  strictEqual(elsewhere("ID=manjaro\nID_LIKE=arch\n").fix, "sudo pacman -S vulkan-swrast vulkan-icd-loader");
  ok(/lavapipe/.test(elsewhere("").fix));
  ok(/darwin/.test(elsewhere("", "darwin").why));
});

Deno.test("parseOsRelease() reads all three ways of quoting", () => {
  deepStrictEqual(parseOsRelease("A=x y\nB=\"p q\"\nC='r'\n# D=1\nE=\n"), {
    A: "x y",
    B: "p q",
    C: "r",
    E: "",
  });
});

Deno.test("parseSources() reads both forms, inline keys, and skips what is off", () => {
  deepStrictEqual(
    parseSources(
      "# deb http://off x main\ndeb [arch=amd64 signed-by=/k.gpg] http://m/d bookworm main contrib\n",
    ),
    [
      { uris: "http://m/d", suites: ["bookworm"], components: ["main", "contrib"], signedBy: "/k.gpg" },
    ],
  );
  deepStrictEqual(parseSources("deb http://m/d bookworm main"), [
    { uris: "http://m/d", suites: ["bookworm"], components: ["main"], signedBy: undefined },
  ]);
  const key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n -----END PGP PUBLIC KEY BLOCK-----";
  const [inline, ...rest] = parseSources(
    `Types: deb deb-src\nURIs: http://m/d http://n/d\nSuites: bookworm\nComponents: main\nSigned-By:\n${key}\n`,
  );
  deepStrictEqual(rest, []);
  deepStrictEqual([inline.uris, inline.signedBy], ["http://m/d http://n/d", `\n${key}`]);
  deepStrictEqual(parseSources("Types: deb\nEnabled: no\nURIs: http://m/d\nSuites: a\nComponents: b\n"), []);
  deepStrictEqual(parseSources("Types: deb-src\nURIs: http://m/d\nSuites: a\nComponents: b\n"), []);
  strictEqual(parseSources(sources.replaceAll("\n", "\r\n")).length, 2);
});

Deno.test("showStep() quotes for a shell", () => {
  strictEqual(showStep({ argv: ["a", "b c", "it's", ""] }), `a 'b c' 'it'\\''s' ''`);
  strictEqual(
    showStep({ argv: ["sudo", "-n", "tee", "/x"], stdin: "one two\nthree\n" }),
    `printf '%s\\n' 'one two' three | sudo tee /x`,
  );
});

/** The task in its own process. */
async function setup(env: Record<string, string>, ...args: string[]) {
  const task = new URL("../../tasks/setup.ts", import.meta.url).href;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "--no-lock", "-A", task, ...args],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("setup does nothing, quietly, where there is an adapter", async () => {
  deepStrictEqual(await setup({}), { code: 0, stdout: "", stderr: "" });
});

Deno.test({
  name: "setup without an adapter and with CALA_NO_SETUP=1 tells what to do and ends with 2",
  ignore: Deno.build.os !== "linux", // hides the adapter by the Vulkan loader's variable
  fn: async () => {
    const hidden = { VK_DRIVER_FILES: "/none", DENO_WEBGPU_BACKEND: "vulkan", CALA_NO_SETUP: "1" };
    const { code, stdout, stderr } = await setup(hidden);
    deepStrictEqual([code, stdout], [2, ""], stderr);
    ok(/^no GPU adapter was found, and /.test(stderr), stderr);
    ok(/\n {2}fix {4}\S/.test(stderr), stderr);
    ok(!/\n +at /.test(stderr), "no stack");
  },
});

Deno.test("setup takes no arguments", async () => {
  const { code, stderr } = await setup({}, "--quite");
  deepStrictEqual([code, stderr], [2, "unknown flag --quite\n  fix    --help lists all flags\n"]);
});
