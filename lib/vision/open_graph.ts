/** From a graph to a model that runs. */
import type { Graph } from "./graph.ts";
import { modelFile, type ModelFileOptions } from "./model_file.ts";
import { importVisionPackages } from "./packages.ts";
import { checkProvider, openSession, resolveProvider, type Session, type VisionProvider } from "./runtime.ts";

/** What runs it, and where packages and models are kept. */
export interface OpenGraphOptions extends ModelFileOptions {
  readonly provider: VisionProvider;
}

/**
 * Opens a graph on a provider. Packages are installed and the model is written where they are not there yet.
 *
 * @param tensorsHash What tells the checkpoint's tensors from others.
 * @throws As `importVisionPackages`, `checkProvider`, `modelFile` and `openSession`.
 */
export async function openGraph(
  graph: Graph,
  tensorsHash: string,
  { provider, ...options }: OpenGraphOptions,
): Promise<Session & { readonly provider: Exclude<VisionProvider, "auto"> }> {
  const chosen = await resolveProvider(provider);
  const { proto, runtime, libraryFolder } = await importVisionPackages(options);
  checkProvider(runtime, chosen, libraryFolder);
  const path = await modelFile(graph, proto, tensorsHash, options);
  return { ...await openSession(runtime, path, chosen), provider: chosen };
}
